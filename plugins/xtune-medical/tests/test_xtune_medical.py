"""The clinic's mappers, templates and configs, as xtune sees them. The plugin has to be installed."""

import pytest
from xtune_medical import SYSTEM, TEMPLATES, mappers

import xtune
from xtune.errors import DataError

CONFIGS = [name for name in xtune.list_configs() if name.endswith("_clinic_e3")]
VISIT = {"Department": "ENT", "Age": "29", "Sex": None, "History": " ", "Complaint": "Blocked ear", "Advice": "Wait."}


def texts(conversation):
    return [(turn.role, turn.text) for turn in conversation.turns]


def test_a_visit_leaves_out_what_is_not_known():
    found = texts(mappers.visit(VISIT))
    assert found == [("user", "Department: ENT\nAge: 29\nComplaint: Blocked ear"), ("assistant", "Wait.")]


def test_columns_can_be_called_something_else():
    row = {"科室": "内科", "主诉": "头痛三天", "医嘱": "请测量血压。"}
    found = texts(mappers.visit(row, context=["科室"], complaint="主诉", advice="医嘱"))
    assert found == [("user", "科室: 内科\n主诉: 头痛三天"), ("assistant", "请测量血压。")]


@pytest.mark.parametrize("column", ["Complaint", "Advice"])
def test_a_visit_without_complaint_or_advice_is_empty(column):
    assert mappers.visit(VISIT | {column: ""}).turns == ()


def test_a_missing_column_is_told():
    row = {name: cell for name, cell in VISIT.items() if name != "Age"}
    with pytest.raises(DataError, match="column `Age` is missing: got columns 'Department', 'Sex'"):
        mappers.visit(row)


def test_an_answer_ends_with_its_source_if_it_has_one():
    row = {"question": "May I?", "answer": "Yes.", "source": ""}
    assert texts(mappers.question(row))[1] == ("assistant", "Yes.")
    assert texts(mappers.question(row | {"source": "Leaflet 1"}))[1] == ("assistant", "Yes.\n\nSource: Leaflet 1")
    assert texts(mappers.question(row | {"source": "Leaflet 1"}, source=None))[1] == ("assistant", "Yes.")
    assert mappers.question(row | {"answer": "", "source": "Leaflet 1"}).turns == ()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_differs_from_its_base_by_the_system_message(name):
    conversation = mappers.visit(VISIT)
    with_system = xtune.Conversation((xtune.Turn("system", SYSTEM), *conversation.turns))
    assert xtune.render(conversation, name) == xtune.render(with_system, TEMPLATES[name])


def test_there_are_configs_for_several_base_models():
    assert len({xtune.load_config(name).model.name for name in CONFIGS}) == 3


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_fits_its_model_and_inherits_the_rest(name):
    config = xtune.load_config(name)
    found = xtune.components()
    model = found.models[config.model.name]
    assert model.path == config.model.path
    assert found.templates[model.template] == found.templates[TEMPLATES[config.template]]
    assert [entry.mapper for entry in config.data] == ["clinic_visit", "clinic_question"]
    assert name.startswith(f"{config.model.name}_{config.tuning.name}_")


def test_every_row_of_the_package_is_used():
    from xtune.resolve import resolve
    from xtune.sources.source import open_source

    run = resolve(xtune.load_config(CONFIGS[0]))
    for entry in run.config.data:
        mapper = run.components.mappers[entry.mapper]
        conversations = [mapper(row.values) for row in open_source(entry.path, sheet=entry.sheet)]
        assert len(conversations) == 12 and all(conversation.turns for conversation in conversations)
