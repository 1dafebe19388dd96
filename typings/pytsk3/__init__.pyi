# Used by rehydrate.stores (NTFS inside images); the calls that we make, and no more. All enum
# members are plain ints at run time. Every call may raise OSError; reads may also raise others.
from collections.abc import Iterator
from typing import Final

TSK_IMG_TYPE_EXTERNAL: Final[int]
TSK_FS_TYPE_NTFS: Final[int]
TSK_FS_TYPE_NTFS_DETECT: Final[int]
TSK_FS_META_TYPE_REG: Final[int]
TSK_FS_META_TYPE_DIR: Final[int]
TSK_FS_META_TYPE_LNK: Final[int]
TSK_FS_META_FLAG_ALLOC: Final[int]
TSK_FS_META_FLAG_UNALLOC: Final[int]
TSK_FS_NAME_FLAG_ALLOC: Final[int]
TSK_FS_NAME_FLAG_UNALLOC: Final[int]
TSK_FS_NAME_TYPE_REG: Final[int]
TSK_FS_NAME_TYPE_DIR: Final[int]
TSK_FS_ATTR_TYPE_DEFAULT: Final[int]
TSK_FS_ATTR_TYPE_NTFS_SI: Final[int]
TSK_FS_ATTR_TYPE_NTFS_FNAME: Final[int]
TSK_FS_ATTR_TYPE_NTFS_SEC: Final[int]
TSK_FS_ATTR_TYPE_NTFS_DATA: Final[int]
TSK_FS_ATTR_TYPE_NTFS_REPARSE: Final[int]
TSK_FS_ATTR_TYPE_NTFS_EA: Final[int]
TSK_FS_ATTR_TYPE_NTFS_EAINFO: Final[int]
TSK_FS_ATTR_NONRES: Final[int]
TSK_FS_ATTR_RES: Final[int]
TSK_FS_ATTR_ENC: Final[int]
TSK_FS_ATTR_COMP: Final[int]
TSK_FS_ATTR_SPARSE: Final[int]
TSK_FS_ATTR_RUN_FLAG_NONE: Final[int]
TSK_FS_ATTR_RUN_FLAG_FILLER: Final[int]
TSK_FS_ATTR_RUN_FLAG_SPARSE: Final[int]
TSK_FS_FILE_READ_FLAG_NONE: Final[int]
TSK_FS_FILE_READ_FLAG_NOID: Final[int]
TSK_FS_FILE_READ_FLAG_SLACK: Final[int]
TSK_VS_PART_FLAG_ALLOC: Final[int]

def get_version() -> str: ...

class Img_Info:
    # A subclass overrides get_size, read and close; then url="" and TSK_IMG_TYPE_EXTERNAL.
    def __init__(self, url: str = "", type: int = ...) -> None: ...
    def close(self) -> None: ...
    def get_size(self) -> int: ...
    def read(self, off: int, len: int, /) -> bytes: ...

class TSK_VS_INFO:
    block_size: int
    vstype: int
    part_count: int

class TSK_VS_PART_INFO:
    addr: int
    start: int
    len: int
    flags: int
    desc: bytes | None

class Volume_Info:
    info: TSK_VS_INFO
    def __init__(self, image: Img_Info, type: int = ..., offset: int = 0) -> None: ...
    def __iter__(self) -> Iterator[TSK_VS_PART_INFO]: ...

class TSK_FS_INFO:
    block_size: int
    block_count: int
    first_block: int
    last_block: int
    first_inum: int
    last_inum: int
    root_inum: int
    inum_count: int
    dev_bsize: int
    ftype: int
    flags: int

class FS_Info:
    info: TSK_FS_INFO
    def __init__(self, img: Img_Info, offset: int = 0, type: int = ...) -> None: ...
    def open(self, path: str) -> File: ...
    def open_dir(self, path: str | None = None, inode: int = 2) -> Directory: ...
    def open_meta(self, inode: int) -> File: ...
    def exit(self) -> None: ...

class TSK_FS_NAME:
    name: bytes | None
    name_size: int
    shrt_name: bytes | None
    meta_addr: int
    meta_seq: int
    par_addr: int
    par_seq: int
    type: int
    flags: int

class TSK_FS_META:
    addr: int
    seq: int
    size: int
    nlink: int
    mode: int
    uid: int
    gid: int
    type: int
    flags: int
    atime: int
    atime_nano: int
    mtime: int
    mtime_nano: int
    ctime: int
    ctime_nano: int
    crtime: int
    crtime_nano: int

class TSK_FS_FILE:
    name: TSK_FS_NAME | None
    meta: TSK_FS_META | None

class TSK_FS_ATTR:
    type: int
    id: int
    name: bytes | None
    name_size: int
    size: int
    flags: int

class TSK_FS_ATTR_RUN:
    addr: int  # first block
    len: int  # blocks
    offset: int  # blocks from the start of the attribute
    flags: int

class Attribute:
    info: TSK_FS_ATTR
    def __iter__(self) -> Iterator[TSK_FS_ATTR_RUN]: ...

class File:
    info: TSK_FS_FILE
    def read_random(
        self, offset: int, len: int, type: int = ..., id: int = -1, flags: int = 0
    ) -> bytes: ...
    def as_directory(self) -> Directory: ...
    def __iter__(self) -> Iterator[Attribute]: ...

class Directory:
    info: object
    size: int
    def __iter__(self) -> Iterator[File]: ...
