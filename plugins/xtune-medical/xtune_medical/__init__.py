"""A clinic's data for xtune: mappers for its workbook and its table, its system message, and configs."""

from dataclasses import replace

from xtune import hookimpl

SYSTEM = (
    "You are the assistant of a clinic. Give general advice in plain words, say when a doctor has to be seen, and send "
    "emergencies to the emergency number at once. You do not diagnose and do not change prescriptions."
)

TEMPLATES = {
    "clinic_smollm2": "smollm2",
    "clinic_qwen2_5": "qwen2_5_chat",
    "clinic_internlm2": "internlm2_chat",
}
"""Our templates and the built-in ones that they extend."""


@hookimpl
def register_templates(templates):
    for name, base in TEMPLATES.items():
        templates.add(name, replace(templates[base], default_system=SYSTEM))


@hookimpl
def register_mappers(mappers):
    from xtune_medical.mappers import question, visit

    mappers.add("clinic_visit", visit)
    mappers.add("clinic_question", question)


@hookimpl
def register_configs(configs):
    configs.add_package("xtune_medical.configs")
