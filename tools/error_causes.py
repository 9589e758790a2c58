"""Why the errors of each part of xtune come up: every file that raises one belongs to a group, by the longest name."""

CAUSES = {
    "cli.py": ("The command line", "A command or an option is misspelt, or has a value that it does not take."),
    "commands": (
        "Arguments of commands",
        "An argument has a value that the command cannot use, or a file is in the way of its output.",
    ),
    "commands/new_plugin.py": ("xtune new-plugin", "The name cannot be that of a Python package, or is taken."),
    "commands/plan.py": ("xtune plan", "The plan has to count something whose size nobody gave."),
    "config": (
        "Configs and overrides",
        "A key does not exist, has a value of the wrong type, or the file is no Python of plain values. "
        "`xtune show-cfg NAME` prints every key with its value.",
    ),
    "run.py": ("Data that no objective takes", "The rows are of another kind than the config learns from."),
    "names.py": ("Finding a config", "No config has this name, or the file is not there, or is of another kind."),
    "resolve.py": (
        "Names and options in a config",
        "A config names a component with an option that it does not have, or a file or function that is not there.",
    ),
    "rules.py": (
        "Settings that contradict each other",
        "Two settings of a config cannot both hold, or one is beyond what the model can do. The line names both.",
    ),
    "registry.py": ("Packages of configs", "A plugin names a package of configs that cannot be found."),
    "plugins/discover.py": ("Choosing plugins", "`XTUNE_PLUGINS` asks for a distribution that is not installed."),
    "registries.py": ("Plugins that add nothing", "A plugin's hook fails, or adds what is no component."),
    "plugins": (
        "Plugins",
        "A plugin is installed that cannot be imported, does not fit the hooks, is there twice, or asks for another "
        "version of xtune. `xtune plugins` shows which, and works all the same. The beginning of the line names what "
        "is wrong.",
    ),
    "mappers": (
        "Rows that a mapper cannot read",
        "A row has other columns or values than its mapper expects. The line begins with the file and the row. A few "
        "such rows are dropped and counted; where a file begins with nothing else, it is the wrong mapper. "
        "`xtune check-custom-dataset FILE` shows which mapper fits, and `options` gives columns other names.",
    ),
    "sources": (
        "Finding and opening data",
        "The path, the glob, the split or the package is not there, or is of a kind that xtune does not read.",
    ),
    "sources/table.py": (
        "Broken data files",
        "The file is not what its suffix says, is cut off, or has another encoding than UTF-8.",
    ),
    "data": (
        "Preparing data",
        "Rows could be read but not trained on, or the prepared data cannot be kept. "
        "The report of `xtune log-dataset NAME` counts what was dropped, by reason.",
    ),
    "encoding": (
        "Encoding",
        "A conversation is longer than `max_length` and `too_long` is `error`, or the chat template belongs to another "
        "tokenizer (`xtune check-template MODEL` says which is its own).",
    ),
    "templates": (
        "Chat templates",
        "A template file is malformed, a conversation has a turn that the template has no place for, or the template "
        "belongs to another tokenizer.",
    ),
    "models": (
        "Loading models",
        "The folder is incomplete, the path is misspelt, or the machine lacks what the settings ask for.",
    ),
    "models/adapter.py": ("Loading adapters", "The adapter's folder is incomplete, or it was trained on another base."),
    "models/gguf.py": ("GGUF files", "The file is incomplete, of an unknown kind, or there is no room to convert it."),
    "models/placement.py": (
        "Weights and files that do not belong together",
        "The files lack weights that the model needs, hold some without a place in it, or are of other shapes than its "
        "config.json says.",
    ),
    "models/weight_files.py": (
        "Weight files",
        "A download has ended early, a shard is not there, or a pointer of Git LFS stands in a file's place.",
    ),
    "quantization": (
        "Models that are stored quantized",
        "The weights are stored in few bits, which cannot be changed, merged into or trained whole.",
    ),
    "models/legacy": (
        "Old model families",
        "The checkpoint has a setting, or is asked for an attention or a layout, that its native class does not have.",
    ),
    "tuning": ("Tuning", "The options of the tuning do not fit the model: see `tuning.targets`."),
    "optimizers": (
        "Optimizers and schedules",
        "No weight is trained, for the tuning found nothing to train, or the warm-up is longer than the run.",
    ),
    "distributed": (
        "Spreading a run",
        "The strategy and the number of processes do not go together, or the DeepSpeed file cannot be used.",
    ),
    "training": (
        "Training",
        "Settings contradict each other, or the numbers of a step are no longer finite. Such a step never reaches the "
        "weights, and the newest checkpoint stays good.",
    ),
    "dist": (
        "Starting processes",
        "The variables of the launcher are missing or are no numbers, or not all processes came to the same place.",
    ),
    "checkpoints/journal.py": (
        "Journals",
        "What a checkpoint recorded of the run's steps cannot be read, or the work dir takes no files any more.",
    ),
    "checkpoints/work_dir.py": ("The work dir", "The folder is in use, holds another run, or cannot be written to."),
    "callbacks": ("Visualizers", "A visualizer of the config cannot be started: a package or a login is missing."),
    "checkpoints/checkpoint.py": (
        "Checkpoints",
        "A checkpoint is missing, incomplete or changed. `--resume auto` takes the newest good one and says so.",
    ),
    "checkpoints/resume.py": (
        "Going on with a run",
        "What is resumed has other data, another batch or another config than before, so that it could not end with "
        "the same weights.",
    ),
    "checkpoints/save.py": (
        "State in a checkpoint",
        "The checkpoint was written by another strategy, with another number of processes, or for another model.",
    ),
    "checkpoints/state.py": ("Optimizer state", "The checkpoint's optimizer state is that of another run."),
    "export": (
        "Converting and merging",
        "The output is in the way, or the checkpoint, the adapter or the model is of another kind than asked for.",
    ),
    "generate": ("Chat", "The model has no template stored beside it, or the conversation has outgrown its context."),
    "paths.py": ("Paths", "Nothing can be read there, or the path is none."),
    "foreign.py": (
        "Files of others",
        "A JSON file is damaged, or holds something else than it should: the line names the field.",
    ),
    "check": ("Checks before a run", "Something that the run needs is not there: the line names it."),
    "estimate": ("Estimates", "The model's sizes are not known, so nothing can be counted."),
    "evaluation": (
        "Evaluation",
        "The questions of an evaluation are no multiple choice, or one of several devices has no room for an answer.",
    ),
    "rehearse": (
        "Rehearsing and planning",
        "A stage of the rehearsal fails as the real run would: the end of the line says why. Or there is no example "
        "to rehearse with.",
    ),
}
"""First part of a file's path below xtune/: the heading, and the cause."""


def group_of(path: str) -> str:
    """The key of CAUSES that a file belongs to. Raises KeyError for a file of which no cause is given."""
    fitting = [part for part in CAUSES if path.startswith(part)]
    if not fitting:
        raise KeyError(f"xtune/{path} raises errors of which no cause is given: add it to tools/error_causes.py")
    return max(fitting, key=len)
