"""How many epochs a run has when it is resumed or extended."""

from collections.abc import Collection, Mapping
from typing import Any

from examples.pose.training import configuration
from examples.pose.training.run_folder import RunFolder


def keep(run: RunFolder, config: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Returns the arguments of a run; if it is resumed, with the length that it was begun with.

    Only a number of epochs among the `given` arguments changes the length. A run that was begun
    with `--minutes` is also resumed by the same number of `--epochs`.
    """
    if not (run.has_finished_epoch and run.config_path.exists()):
        return dict(config)
    old = run.config
    if config["minutes"]:
        return {**config, "epochs": old["epochs"]}
    if "epochs" not in given or config["epochs"] == old.get("epochs"):
        length = {name: old[name] for name in ("epochs", "minutes") if name in old}
        return {**config, **length}
    return dict(config)


def is_extension(run: RunFolder, config: Mapping[str, Any]) -> bool:
    """Whether the run is finished and now gets more epochs."""
    if run.metrics is None or not run.config_path.exists():
        return False
    planned = run.config.get("epochs", 0)
    return run.metrics.get("epochs") == planned < config["epochs"]


def extended_from(run: RunFolder, config: Mapping[str, Any]) -> list[int]:
    """The numbers of epochs after which the run was finished before, in order."""
    if not run.config_path.exists():
        return []
    old = run.config
    extended = [old["epochs"]] if is_extension(run, config) else []
    return [*old.get("extended_from", []), *extended]


def describe_extension(config: Mapping[str, Any], finished: int) -> str:
    """Says how the learning rate goes on in a run that was finished after `finished` epochs."""
    rate = float(configuration.optimisation(config).schedule(finished * config["steps_per_epoch"]))
    return (
        f"Extending a run of {finished} epochs to {config['epochs']}. The learning rate follows "
        f"the schedule of {config['epochs']} epochs: it rises to {rate:.2e} at once, then falls to "
        "0. The result is not that of a training that had this length from the start."
    )
