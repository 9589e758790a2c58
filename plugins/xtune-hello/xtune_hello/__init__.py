"""What this plugin adds to xtune. Every command imports this file: what is slow to import stays in the functions."""

from xtune import ChatTemplate, ModelSpec, hookimpl
from xtune.models.spec import sizes


@hookimpl
def register_models(models):
    path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    shape = sizes("llama", hidden=576, layers=30, heads=9, kv_heads=3, intermediate=1536, vocab=49152, tied=True)
    facts = {"family": "hello", "context": 8192, "licence": "Apache-2.0", "config": shape}
    models.add("hello_135m", ModelSpec(path=path, template="hello", **facts))


@hookimpl
def register_templates(templates):
    templates.add("hello", ChatTemplate(user="User: {text}\n", assistant="Assistant: ", tail="\n"))


@hookimpl
def register_sources(sources):
    from xtune_hello.source import read_names

    sources.add(".hello", read_names)


@hookimpl
def register_mappers(mappers):
    from xtune_hello.mapper import hello

    mappers.add("hello", hello)


@hookimpl
def register_strategies(strategies):
    from xtune_hello.strategy import OnlyNorms

    strategies.add("hello_norms", OnlyNorms)


@hookimpl
def register_objectives(objectives):
    from xtune_hello.objective import Focal

    objectives.add("hello_focal", Focal)


@hookimpl
def register_quantizations(quantizations):
    from xtune_hello.quantization import Spared

    quantizations.add("hello_nf4", Spared)


@hookimpl
def register_optimizers(optimizers):
    from xtune_hello.optimizer import Momentum

    optimizers.add("hello_momentum", Momentum)


@hookimpl
def register_schedules(schedules):
    from xtune_hello.optimizer import square

    schedules.add("hello_square", square)


@hookimpl
def register_callbacks(callbacks):
    from xtune_hello.callback import Clock

    callbacks.add("hello_clock", Clock)


@hookimpl
def register_configs(configs):
    configs.add_package("xtune_hello.configs")


@hookimpl
def register_commands(commands):
    from xtune_hello import command

    commands.add("hello", command)
