"""``rehydrate rebuild``: what can be derived is made again."""

from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.output import Json, document, say, shown, tell
from rehydrate.cli.parameters import AsJson, Store
from rehydrate.cli.sizes import counted

__all__ = ["rebuild"]


def rebuild(store: Store, *, as_json: AsJson = False) -> int:
    """Make configuration, index and versions again from containers.

    Nothing but the containers is needed; what is there and right is kept.
    """
    from rehydrate.cli.sources import local, only_native
    from rehydrate.ingest.rebuild import rebuild_store

    place = local(store, "rebuild")
    only_native(place, "its chunk store is Windows' own and is only read; see `rehydrate verify`")
    done = rebuild_store(place)
    for number, reason in done.unreadable.items():
        tell(f"rehydrate: version {number} is lost: {shown(reason)}")
    for container in done.damaged_containers:
        tell(f"rehydrate: container {shown(container)} is damaged: see `rehydrate verify`")
    if as_json:
        content: dict[str, Json] = {
            "configuration_made": done.configuration,
            "versions_made": list(done.versions),
            "versions_kept": list(done.kept),
            "versions_lost": {str(number): why for number, why in done.unreadable.items()},
            "damaged_containers": list(done.damaged_containers),
        }
        document("rebuild", content)
    else:
        say("configuration: " + ("made again" if done.configuration else "was right"))
        kept = f", {counted(len(done.kept), 'version')} kept" if done.kept else ""
        say(f"versions: {counted(len(done.versions), 'version')} made again{kept}")
        say("index: made again")
    return SOME_FAILED if done.unreadable or done.damaged_containers else OK
