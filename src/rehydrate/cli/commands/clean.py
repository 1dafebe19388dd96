"""``rehydrate clean``: what interrupted restores left in a target."""

from typing import Annotated

from rehydrate.cli.declare import Argument
from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.output import document, say, shown, tell
from rehydrate.cli.parameters import AsJson

__all__ = ["clean"]


def clean(
    out: Annotated[
        str,
        Argument("OUT", "Directory that was restored into."),
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Remove what interrupted restores left in a target.

    It is kept for going on: without it the same restore reads all its bytes again.

    What a running restore holds is left alone.
    """
    from rehydrate.cli.sources import local
    from rehydrate.errors import RequestError
    from rehydrate.staging.root import TargetRoot
    from rehydrate.staging.workspace import clean as remove_workspaces

    place = local(out, "clean")
    if not place.is_dir():
        raise RequestError(f"{out} is no directory: name one that was restored into")
    with TargetRoot(place) as root:
        done = remove_workspaces(root)
    for name, reason in done.kept:
        tell(f"rehydrate: {shown(name)} stays: {shown(reason)}")
    if as_json:
        kept = [{"path": name, "reason": reason} for name, reason in done.kept]
        document("clean", {"removed": list(done.removed), "kept": kept})
    else:
        for name in done.removed:
            say(f"removed {shown(name)}")
        if not done.removed and not done.kept:
            say("nothing to clean")
    return SOME_FAILED if done.kept else OK
