"""The store over volumes: pieces, holes, wrong and missing volumes, what is asked of the drive."""

from collections.abc import Sequence

import attrs
import numpy as np
import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    NotReadyError,
    RequestError,
    StoreError,
    StoreReadError,
)
from rehydrate.media.geometry import FORMATS, WrapEnd, native_geometry
from rehydrate.media.locate import model_of
from rehydrate.media.pricing import Tape
from rehydrate.stores.ltfs.catalogue import Piece, Pieces, WholeFiles, lay_out
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import Stretch, TapePosition
from rehydrate.values import FileExtent, StorePath
from tests.clocks import HandClock
from tests.ltfs_volume import CountingDrive, Extent, Library, VolumeWriter

ONE, TWO, THREE = (StorePath(f"Data/{name}") for name in ("one", "two", "three"))


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


DATA = {ONE: noise(20_000, 1), TWO: noise(9_000, 2), THREE: noise(5_000, 3)}


def writer(number: int = 1) -> VolumeWriter:
    made = VolumeWriter(number=number, barcode=f"TAPE0{number}")
    for path in (THREE, ONE, TWO):
        made.add(path, DATA[path], sizes=(100,) if path == ONE else ())
    return made.finish()


def volume(made: VolumeWriter) -> LtfsVolume:
    return LtfsVolume.read(CountingDrive(made.partitions))


def store_of(made: VolumeWriter) -> tuple[LtfsStore, Library]:
    library = Library({made.barcode: made.partitions})
    return LtfsStore([volume(made)], library), library


def code_of(store: LtfsStore, path: StorePath) -> str:
    with pytest.raises(StoreError) as caught:
        store.read_backup_file(path, 0, 10)
    return caught.value.code


class TestReading:
    def test_ranges_come_back_and_end_where_the_container_ends(self) -> None:
        store, _ = store_of(writer())
        for path, data in DATA.items():
            for first, size in ((0, 1), (99, 2), (4000, 500), (len(data) - 5, 100)):
                assert store.read_backup_file(path, first, size) == data[first : first + size]
            assert store.read_backup_file(path, len(data), 10) == b""

    def test_forward_reads_take_one_locate(self) -> None:
        store, library = store_of(writer())
        for first in range(0, 20_000, 999):
            store.preview_container_read(ONE, [FileExtent(first, 10)])
            assert store.read_backup_file(ONE, first, 10) == DATA[ONE][first : first + 10]
        store.preview_container_read(ONE, [])
        assert len(library.drives[0].locates) == 2

    def test_even_blocks_are_gone_to_directly(self) -> None:
        made = VolumeWriter().add(ONE, DATA[ONE]).finish()
        even = attrs.evolve(volume(made), full_blocks=True, read_through=4096)
        library = Library({"TAPE01": made.partitions})
        store = LtfsStore([even], library)
        for first in (100, 18_000, 19_000):
            assert store.read_backup_file(ONE, first, 5) == DATA[ONE][first : first + 5]
        (drive,) = library.drives
        assert [at.block for at in drive.locates[1:]] == [4, 8]
        assert store.read_backup_file(ONE, 0, 20_000) == DATA[ONE]

    def test_what_is_asked_again_in_an_even_volume_is_counted_from_the_beginning(self) -> None:
        made = VolumeWriter().add(ONE, DATA[ONE], sizes=(4096, 50)).finish()
        even = attrs.evolve(volume(made), full_blocks=True, read_through=0)
        store = LtfsStore([even], Library({"TAPE01": made.partitions}))
        wanted = DATA[ONE][13_000:13_010]
        assert store.read_backup_file(ONE, 13_000, 10) != wanted  # a digest would tell
        assert store.read_backup_file(ONE, 13_000, 10) == wanted
        assert store.read_backup_file(ONE, 13_100, 10) == DATA[ONE][13_100:13_110]

    def test_holes_are_zeros_and_need_no_tape(self) -> None:
        made = VolumeWriter()
        block = made.append("b", b"x" * 10)
        made.files["holes"] = (60, [Extent(20, "b", block, 2, 8)])
        made.files["nothing"] = (50, [])
        store, library = store_of(made.finish())
        assert store.read_backup_file(StorePath("nothing"), 5, 100) == bytes(45)
        store.preview_container_read(StorePath("nothing"), [FileExtent(0, 50)])
        assert library.names == []
        assert store.read_backup_file(StorePath("holes"), 0, 60) == bytes(20) + b"x" * 8 + bytes(32)

    def test_what_nobody_has_is_not_found(self) -> None:
        store, library = store_of(writer())
        assert code_of(store, StorePath("Data/none")) == "store.container-missing"
        assert library.names == []
        assert store.list_containers(StorePath("Data")) == ["one", "three", "two"]
        assert store.list_containers(StorePath("None")) == []

    @pytest.mark.parametrize(
        ("extent", "code"),
        [
            (Extent(0, "b", 10**6, 0, 5), "ltfs.extent"),
            (Extent(0, "c", 4, 0, 5), "ltfs.extent"),
            (Extent(0, "b", 4, 4096, 5), "ltfs.extent"),
            (Extent(0, "b", 2**63 - 1, 0, 5), "ltfs.extent"),
            (Extent(0, "b", 4, 0, 6), "ltfs.file"),
            (Extent(0, "b", 0, 0, 5), "ltfs.extent"),
            (Extent(0, "b", 3, 0, 5), "ltfs.extent"),
        ],
    )
    def test_extents_outside_the_volume_are_told(self, extent: Extent, code: str) -> None:
        made = writer()
        made.files["bad"] = (5, [extent])
        store, _ = store_of(made.finish())
        assert code_of(store, StorePath("bad")) == code
        assert store.read_backup_file(TWO, 0, 9_000) == DATA[TWO]
        answer = store.order_containers_restore([StorePath("bad"), TWO])
        assert [one.index for one in answer] == [1, 0]  # what has no place comes last

    def test_a_saved_index_does_not_know_the_end(self) -> None:
        made = writer()
        made.files["beyond"] = (5, [Extent(0, "b", 10**6, 0, 5)])
        made.files["mark"] = (9000, [Extent(0, "b", len(made.partitions[1]) - 2, 0, 9000)])
        made.finish()
        saved = LtfsVolume.saved("TAPE01", made.label("a"), [made.index()])
        store = LtfsStore([saved], Library({"TAPE01": made.partitions}))
        assert code_of(store, StorePath("beyond")) == "tape.end-of-data"
        with pytest.raises(StoreReadError) as caught:
            store.read_backup_file(StorePath("mark"), 8000, 10)
        assert caught.value.code == "ltfs.extent"

    def test_a_record_that_is_larger_than_blocks_is_refused(self) -> None:
        made = writer()
        made.partitions[1][4] = b"x" * 5000
        store, _ = store_of(made)
        assert code_of(store, THREE) == "ltfs.extent"


class TestVolumes:
    def test_the_wrong_volume_is_told_and_not_read(self) -> None:
        made, other = writer(1), writer(2)
        library = Library({"TAPE01": other.partitions, "TAPE02": other.partitions})
        store = LtfsStore([volume(made)], library)
        assert code_of(store, ONE) == "tape.wrong-volume"
        assert code_of(store, ONE) == "tape.wrong-volume"
        assert library.names == ["TAPE01"]
        assert library.drives[0].closed
        library.shelf["TAPE01"] = made.partitions
        store.ask_again()
        assert store.read_backup_file(ONE, 0, 10) == DATA[ONE][:10]
        store.close()
        assert library.drives[1].closed

    def test_another_volume_with_the_same_barcode_is_told(self) -> None:
        made, other = writer(1), VolumeWriter(number=2, barcode="TAPE01").finish()
        store = LtfsStore([volume(made)], Library({"TAPE01": other.partitions}))
        assert code_of(store, ONE) == "tape.wrong-volume"

    def test_a_copy_with_the_same_identity_and_another_barcode_is_told(self) -> None:
        made, copy = writer(1), writer(1)
        copy.barcode = "COPY01"
        for partition in copy.partitions:
            partition[0] = copy.vol1()
        library = Library({"TAPE01": copy.partitions})
        with pytest.raises(StoreReadError, match=r"COPY01.*two volumes") as caught:
            LtfsStore([volume(made)], library).read_backup_file(ONE, 0, 1)
        assert caught.value.code == "tape.wrong-volume"

    def test_a_tape_that_is_no_ltfs_volume_or_turned_around_is_told(self) -> None:
        made = writer()
        for records in ([[b"x"], []], made.partitions[::-1]):
            store = LtfsStore([volume(made)], Library({"TAPE01": records}))
            assert code_of(store, ONE) == "tape.wrong-volume"

    def test_a_drive_that_cannot_read_the_label_is_told(self) -> None:
        made = writer()
        library = Library({"TAPE01": made.partitions}, failing={TapePosition(0, 0): 99})
        assert code_of(LtfsStore([volume(made)], library), ONE) == "tape.read"

    def test_two_volumes_with_the_same_identity_or_name_are_refused(self) -> None:
        first = volume(writer(1))
        for second in (
            attrs.evolve(first, name="OTHER"),
            attrs.evolve(volume(writer(2)), name="TAPE01"),
        ):
            with pytest.raises(RequestError, match="TAPE01") as caught:
                LtfsStore([first, second], Library({}))
            assert caught.value.code == "tape.volumes"

    def test_index_and_label_of_different_volumes_are_refused(self) -> None:
        one, two = writer(1), writer(2)
        with pytest.raises(CorruptMetadataError) as caught:
            LtfsVolume.saved("x", one.label("a"), [two.index()])
        assert caught.value.code == "ltfs.identity"

    def test_requests_say_how_much_and_what_comes_then(self) -> None:
        first, second = VolumeWriter(1, "TAPE01"), VolumeWriter(2, "TAPE02")
        first.add(ONE, DATA[ONE]).add(TWO, DATA[TWO]).finish()
        second.add(THREE, DATA[THREE]).finish()
        library = Library({"TAPE01": first.partitions, "TAPE02": second.partitions})
        model = model_of(FORMATS["LTO-9"])
        volumes = [attrs.evolve(volume(made), tape=Tape(model=model)) for made in (first, second)]
        store = LtfsStore(volumes, library)
        answer = store.order_containers_restore([ONE, THREE, TWO])
        assert [one.index for one in answer] == [0, 2, 1]
        store.read_backup_file(ONE, 0, 1)
        store.read_backup_file(THREE, 0, 1)
        wanted, later = library.requests
        assert (wanted.barcode, wanted.containers, wanted.wanted_bytes) == ("TAPE01", 2, 29_000)
        assert wanted.then == ("TAPE02",)
        assert later.then == ()
        assert wanted.seconds is not None
        assert wanted.seconds > 0
        assert "bytes: 29000" in wanted.reason
        assert [need.name for need in store.volumes_needed([ONE, THREE])] == ["TAPE02", "TAPE01"]

    def test_a_mount_without_an_order_says_so(self) -> None:
        store, library = store_of(writer())
        store.read_backup_file(ONE, 0, 1)
        assert library.requests[0].seconds is None

    def test_later_passes_through(self) -> None:
        made = writer()

        def later() -> None:
            raise NotReadyError("later", retry_after=5)

        watch, library = HandClock(), Library({"TAPE01": later})
        store = LtfsStore([volume(made)], library, clock=watch)
        for waited, asked in ((0, 1), (4, 1), (1, 2), (1, 2)):
            watch.sleep(waited)
            with pytest.raises(NotReadyError) as caught:
                store.preview_container_read(ONE, [FileExtent(0, 1)])
            assert 0 < caught.value.retry_after <= 5
            assert len(library.names) == asked

    def test_a_volume_that_is_loaded_but_not_ready_is_asked_for_again(self) -> None:
        class Loading(CountingDrive):
            def read_record(self) -> bytes | None:
                raise NotReadyError("loading", retry_after=5)

        made, watch = writer(), HandClock()
        library = Library({"TAPE01": lambda: Loading(made.partitions)})
        store = LtfsStore([volume(made)], library, clock=watch)
        with pytest.raises(NotReadyError):
            store.preview_container_read(ONE, [FileExtent(0, 1)])
        library.shelf["TAPE01"] = made.partitions
        watch.sleep(5)
        assert store.read_backup_file(ONE, 0, 5_000) == DATA[ONE][:5_000]

    @pytest.mark.parametrize("loaded", [{0: "NONE"}, {2: "TAPE01"}, {0: "TAPE01", 1: "TAPE01"}])
    def test_what_cannot_be_loaded_is_refused(self, loaded: dict[int, str]) -> None:
        made = writer()
        with pytest.raises(RequestError, match="each once") as caught:
            LtfsStore([volume(made)], Library({}), drives=2, loaded=loaded)
        assert caught.value.code == "tape.options"

    def test_what_is_at_hand(self) -> None:
        first, second = writer(1), VolumeWriter(2, "TAPE02").add("tail", b"tail").finish()
        four, five, six = (StorePath(name) for name in ("four", "five", "six"))
        catalogue = Pieces(
            {
                ONE: [Piece("TAPE01", ONE)],
                four: [Piece("TAPE01", TWO), Piece("TAPE02", "tail", 9_000)],
                five: [Piece("TAPE01", TWO, 10)],
                six: [Piece("TAPE09", TWO)],
            }
        )
        library = Library({"TAPE01": first.partitions, "TAPE02": second.partitions})
        store = LtfsStore([volume(first), volume(second)], library, catalogue=catalogue)
        assert store.missing_volumes(ONE, {"TAPE01"}) == ()
        assert store.missing_volumes(four, {"TAPE01"}) == ("TAPE02",)
        assert store.missing_volumes(five, {"TAPE01"}) is None
        assert store.missing_volumes(six, {"TAPE01"}) is None
        some = store.at_hand({"TAPE01"})
        assert [one.index for one in some.order_containers_restore([five, four, ONE])] == [2]
        some.preview_container_read(ONE, [FileExtent(0, 9)])
        assert some.read_backup_file(ONE, 0, 9) == DATA[ONE][:9]
        with pytest.raises(ContainerNotFoundError, match="TAPE02") as caught:
            some.read_backup_file(four, 0, 1)
        assert caught.value.code == "tape.not-at-hand"
        assert store.read_backup_file(four, 8_995, 100) == DATA[TWO][-5:] + b"tail"
        assert code_of(store, five) == "tape.catalogue"
        assert code_of(store, six) == "tape.catalogue"
        with pytest.raises(RequestError):
            store.at_hand({"TAPE09"})


class TestPieces:
    def test_later_pieces_win(self) -> None:
        made = VolumeWriter().add("old", b"o" * 100).add("new", b"n" * 20).add("top", b"t" * 4)
        found = volume(made.finish())
        pieces = [
            Piece("TAPE01", "old"),
            Piece("TAPE01", "new", 90),
            Piece("TAPE01", "new", 10, 10, 5),
            Piece("TAPE01", "top", 12),
            Piece("TAPE01", "top", 50, 0),
        ]
        parts = lay_out(pieces, {"TAPE01": found})
        assert [(part.start, part.end) for part in parts] == [
            (0, 10), (10, 12), (12, 16), (16, 20), (20, 90), (90, 110),
        ]  # fmt: skip
        path = StorePath("c")
        store = LtfsStore(
            [found], Library({"TAPE01": made.partitions}), catalogue=Pieces({path: pieces})
        )
        whole = b"o" * 10 + b"nn" + b"tttt" + b"nnnn" + b"o" * 70 + b"n" * 20
        assert store.read_backup_file(path, 0, 999) == whole
        assert store.read_backup_file(path, 11, 6) == whole[11:17]

    @pytest.mark.parametrize(
        "piece",
        [Piece("TAPE01", TWO, 0, 9_001), Piece("TAPE01", TWO, 0, None, 9_001), Piece("X", TWO),
         Piece("TAPE01", TWO, 2**63 - 1)],
    )  # fmt: skip
    def test_pieces_that_cannot_be_are_told(self, piece: Piece) -> None:
        with pytest.raises(StoreReadError) as caught:
            lay_out([piece], {"TAPE01": volume(writer())})
        assert caught.value.code == "tape.catalogue"

    @pytest.mark.parametrize("numbers", [(-1, 1, 0), (0, -1, 0), (0, 1, -1), (2**63 - 1, 1, 0)])
    def test_ranges_that_are_none_are_refused(self, numbers: tuple[int, int, int]) -> None:
        with pytest.raises(RequestError):
            Piece("v", "f", *numbers)

    def test_catalogues_know_folders(self) -> None:
        catalogue = Pieces({ONE: [Piece("v", "f")], StorePath("x"): []})
        assert catalogue.names(StorePath("Data")) == ["one"]
        assert list(catalogue.pieces(TWO)) == []
        whole = WholeFiles([volume(writer(1)), volume(writer(2))], "/Data/")
        assert whole.pieces(StorePath("one")) == (Piece("TAPE01", "Data/one"),)
        assert whole.pieces(StorePath("none")) == ()
        assert whole.names(StorePath("")) == ["one", "three", "two"]


class TestOrder:
    def fragments(self) -> tuple[LtfsVolume, VolumeWriter, bytes]:
        made, whole = VolumeWriter(block_size=512), noise(200 * 40)
        extents = []
        for number in range(200):
            block = made.append("b", whole[number * 40 : number * 40 + 40])
            extents.append(Extent(number * 40, "b", block, 0, 40))
        made.files["many"] = (len(whole), extents)
        made.add("one", b"1" * 600)
        return volume(made.finish()), made, whole

    def test_the_number_of_extents_is_bounded(self) -> None:
        found, made, whole = self.fragments()
        store = LtfsStore([found], Library({"TAPE01": made.partitions}))
        answer = store.order_containers_restore([StorePath("many")])
        assert len(answer) == 50
        assert answer[0].offset == 0
        assert [one.offset + one.length for one in answer[:-1]] == [
            one.offset for one in answer[1:]
        ]
        assert store.read_backup_file(StorePath("many"), 0, 10**6) == whole

    def test_geometry_is_used_where_it_is_known(self) -> None:
        found, made, _ = self.fragments()
        lto = FORMATS["LTO-9"]
        geometry = native_geometry(lto, pairs=(1, 137), unit_bytes=512)
        tape = Tape(model=model_of(lto), geometry=geometry)
        library = Library({"TAPE01": made.partitions})
        store = LtfsStore([attrs.evolve(found, tape=tape)], library)
        (need,) = store.volumes_needed([StorePath("many"), StorePath("one")])
        assert need.locate_s is not None
        assert need.seconds is not None
        assert need.seconds > 1
        store.read_backup_file(StorePath("one"), 0, 1)
        (again,) = store.volumes_needed([StorePath("one")])
        assert again.locate_s is not None
        assert again.locate_s < need.locate_s

    def test_wrap_ends_come_from_the_drive(self) -> None:
        class Telling(CountingDrive):
            def wrap_ends(self) -> Sequence[WrapEnd]:
                return [
                    WrapEnd(0, 0, 10),
                    WrapEnd(1, 0, 20),
                    WrapEnd(4, 1, 100),
                    WrapEnd(5, 1, 300),
                ]

        found, made, _ = self.fragments()
        assert found.measured(CountingDrive(made.partitions), FORMATS["LTO-9"]) is found
        measured = found.measured(Telling(made.partitions), FORMATS["LTO-9"])
        assert measured.tape.geometry is not None
        assert measured.tape.geometry.reported
        (need,) = LtfsStore([measured], Library({})).volumes_needed([StorePath("one")])
        assert need.locate_s is not None

    @pytest.mark.parametrize("reported", [False, True])
    def test_the_drive_is_asked_where_a_geometry_is_only_assumed(self, *, reported: bool) -> None:
        """What is asked for is sorted logically, as long lists are cut in that order."""
        asked: list[Sequence[Stretch]] = []

        class Advising(CountingDrive):
            def recommended_order(self, stretches: Sequence[Stretch], /) -> Sequence[int] | None:
                asked.append(stretches)
                return range(len(stretches))[::-1]

        found, made, _ = self.fragments()
        lto = FORMATS["LTO-9"]
        geometry = native_geometry(lto, pairs=(1, 137), unit_bytes=512)
        geometry = attrs.evolve(geometry, reported=reported)
        tape = Tape(model=model_of(lto), geometry=geometry)
        library = Library({"TAPE01": lambda: Advising(made.partitions)})
        store = LtfsStore([attrs.evolve(found, tape=tape)], library)
        paths = [StorePath("many"), StorePath("one")]
        plain = store.order_containers_restore(paths)
        store.read_backup_file(paths[1], 0, 1)
        answer = store.order_containers_restore(paths)
        (need,) = store.volumes_needed(paths)
        assert (need.kept == "as the drive recommends") is not reported
        assert (need.locate_s is None) is not reported, "nobody knows what its order takes"
        assert need.read_s is not None
        assert set(answer) == set(plain)
        if not reported:
            firsts = [(stretch.partition, stretch.first) for stretch in asked[0]]
            assert firsts == sorted(firsts)
            assert answer != plain

    def test_the_drive_is_asked_where_no_geometry_is_known(self) -> None:
        asked: list[Sequence[Stretch]] = []
        answer: list[int] | None = [2, 0, 1]
        failing: list[OSError] = []

        class Advising(CountingDrive):
            def recommended_order(self, stretches: Sequence[Stretch], /) -> Sequence[int] | None:
                asked.append(stretches)
                if failing:
                    raise failing[0]
                return answer

        made = writer()
        store = LtfsStore([volume(made)], Library({"TAPE01": lambda: Advising(made.partitions)}))
        paths = [ONE, THREE, TWO]
        plain = [one.index for one in store.order_containers_restore(paths)]
        assert plain == [1, 0, 2]
        store.read_backup_file(ONE, 0, 1)
        assert [one.index for one in store.order_containers_restore(paths)] == [2, 1, 0]
        assert [one.first for one in asked[0]] == [4, 6, 12]
        assert store.volumes_needed(paths)[0].kept == "as the drive recommends"
        answer = [0, 0, 1]
        assert [one.index for one in store.order_containers_restore(paths)] == plain
        failing.append(OSError("no answer"))
        assert [one.index for one in store.order_containers_restore(paths)] == plain
        failing.clear()
        answer = None
        assert [one.index for one in store.order_containers_restore(paths)] == plain
        assert store.read_backup_file(THREE, 0, 5_000) == DATA[THREE]
