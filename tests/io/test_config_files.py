"""YAML files, ``extends``, merging and overrides."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.errors import UserError, nearest
from distill_asr.io.yaml import config_name, load_config, load_yaml, merge

keys = st.sampled_from(["a", "b", "c", "d"])  # none is another's `_conf`
configs = st.recursive(
    st.dictionaries(keys, st.integers() | st.none() | st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(keys, inner | st.integers(), max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def problems_of(path: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return caught.value.problems


# -- one file ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "key given twice: a"),
        ("outer:\n  x: 1\n  x: 1\n", "key given twice: x"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("[a]: 1\n", "not valid YAML"),
        ("- a\n- b\n", "found list"),
        ("", "found NoneType"),
        ("just words\n", "found str"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    (problem,) = problems_of(write(tmp_path, bad=text) / "bad.yaml")
    assert complaint in problem
    assert str(tmp_path / "bad.yaml") in problem


def test_missing_directory_and_wrong_encoding(tmp_path: Path) -> None:
    assert "no such file" in problems_of(tmp_path / "none.yaml")[0]
    assert "cannot be read" in problems_of(tmp_path)[0]
    (tmp_path / "latin.yaml").write_bytes("a: grüße".encode("latin-1"))
    assert "UTF-8" in problems_of(tmp_path / "latin.yaml")[0]


def test_anchors_and_merge_keys_are_plain_yaml(tmp_path: Path) -> None:
    text = "base: &base {x: 1, y: 2}\nchild:\n  <<: *base\n  y: 3\n"
    content = load_yaml(write(tmp_path, a=text) / "a.yaml")
    assert content["child"] == {"x": 1, "y": 3}, "y is no key given twice: it overrides"


# -- extends -------------------------------------------------------------------


def test_a_chain_of_bases_is_relative_to_each_file(tmp_path: Path) -> None:
    (tmp_path / "conf" / "deep").mkdir(parents=True)
    write(tmp_path / "conf" / "deep", top="extends: ../middle.yaml\nconf: {c: 3}\n")
    write(tmp_path / "conf", middle="extends: ../bottom.yaml\nconf: {b: 2, c: 2}\n")
    write(tmp_path, bottom="conf: {a: 1, b: 1, c: 1}\nother: kept\n")
    config = load_config(tmp_path / "conf" / "deep" / "top.yaml")
    assert config == {"conf": {"a": 1, "b": 2, "c": 3}, "other": "kept"}


def test_later_bases_win_and_the_file_itself_wins_over_all(tmp_path: Path) -> None:
    write(
        tmp_path,
        one="a: 1\nb: 1\nc: 1\n",
        two="b: 2\nc: 2\n",
        top="extends: [one.yaml, two.yaml]\nc: 3\n",
    )
    assert load_config(tmp_path / "top.yaml") == {"a": 1, "b": 2, "c": 3}


def test_one_base_may_be_reached_by_two_ways(tmp_path: Path) -> None:
    write(
        tmp_path,
        root="a: 1\n",
        left="extends: root.yaml\nl: 1\n",
        right="extends: root.yaml\nr: 1\n",
        top="extends: [left.yaml, right.yaml]\n",
    )
    assert load_config(tmp_path / "top.yaml") == {"a": 1, "l": 1, "r": 1}


@pytest.mark.parametrize("start", ["a", "b", "itself"])
def test_circles_are_reported_with_their_way(tmp_path: Path, start: str) -> None:
    write(
        tmp_path,
        a="extends: b.yaml\n",
        b="extends: ./a.yaml\n",
        itself="extends: itself.yaml\n",
    )
    (problem,) = problems_of(tmp_path / f"{start}.yaml")
    assert f"{start}.yaml" in problem and "'extends' runs in a circle: " in problem
    assert " -> " in problem


@pytest.mark.parametrize("value", ["5", "{a: b}", "[1]", ""])
def test_extends_takes_file_names_only(tmp_path: Path, value: str) -> None:
    (problem,) = problems_of(write(tmp_path, a=f"extends: {value}\nx: 1\n") / "a.yaml")
    assert "extends: expected a file name or a list of them" in problem


def test_missing_base_is_named(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, a="extends: gone.yaml\n") / "a.yaml")
    assert str(tmp_path / "gone.yaml") in problem


# -- merge ---------------------------------------------------------------------


@given(configs)
def test_nothing_over_a_config_and_a_config_over_nothing(config: dict) -> None:
    assert merge(config, {}) == config
    assert merge({}, config) == config


@given(configs)
def test_a_config_over_itself(config: dict) -> None:
    assert merge(config, config) == config


@given(configs, configs)
def test_what_the_diff_says_holds(base: dict, diff: dict) -> None:
    def holds(part: dict, whole: dict) -> bool:
        return all(
            holds(v, whole[k]) if isinstance(v, dict) else whole[k] == v for k, v in part.items()
        )

    before = yaml.safe_dump([base, diff])
    merged = merge(base, diff)
    assert holds(diff, merged)
    assert set(merged) == set(base) | set(diff)
    assert all(merged[key] == base[key] for key in set(base) - set(diff))
    assert yaml.safe_dump([base, diff]) == before, "neither is changed"


@given(configs, configs, configs)
def test_merging_is_associative_where_kinds_agree(a: dict, b: dict, c: dict) -> None:
    def agree(x: object, y: object) -> bool:
        if isinstance(x, dict) != isinstance(y, dict):
            return False
        return not isinstance(x, dict) or all(agree(x[k], y[k]) for k in set(x) & set(y))

    if agree(a, b) and agree(b, c) and agree(a, c):
        assert merge(merge(a, b), c) == merge(a, merge(b, c))


def test_lists_are_replaced_as_a_whole() -> None:
    assert merge({"a": [1, 2, 3]}, {"a": [4]}) == {"a": [4]}


def test_another_class_drops_the_arguments_of_the_old_one() -> None:
    base = {"encoder": "conformer", "encoder_conf": {"cnn_module_kernel": 31, "num_blocks": 12}}
    assert merge(base, {"encoder": "transformer"}) == {"encoder": "transformer"}
    diff = {"encoder": "transformer", "encoder_conf": {"num_blocks": 6}}
    assert merge(base, diff) == diff


def test_the_same_class_keeps_its_arguments() -> None:
    base = {"encoder": "conformer", "encoder_conf": {"a": 1, "b": 1}}
    diff = {"encoder": "conformer", "encoder_conf": {"b": 2}}
    assert merge(base, diff) == {"encoder": "conformer", "encoder_conf": {"a": 1, "b": 2}}


def test_the_rule_holds_inside_distiller_blocks_too() -> None:
    base = {"distill": {"x": {"loss": "l1", "loss_conf": {"reduce_dim": "sum"}, "weight": 2}}}
    merged = merge(base, {"distill": {"x": {"loss": "cosine"}}})
    assert merged == {"distill": {"x": {"loss": "cosine", "weight": 2}}}


def test_a_block_can_be_switched_off() -> None:
    base = {"distill": {"x": {"loss": "l1"}, "y": {"loss": "l1"}}}
    assert merge(base, {"distill": {"x": None}})["distill"] == {"x": None, "y": {"loss": "l1"}}


# -- overrides -----------------------------------------------------------------


def test_overrides_have_yaml_values_and_make_the_way_to_their_key(tmp_path: Path) -> None:
    path = write(tmp_path, a="lr: 1\nconf: {x: 1, y: 1}\n") / "a.yaml"
    overrides = ["lr=0.5", "conf.x=[1, two]", "new.deep.key=true", "eq=a=b", "empty=", "t='5'"]
    assert load_config(path, overrides) == {
        "lr": 0.5,
        "conf": {"x": [1, "two"], "y": 1},
        "new": {"deep": {"key": True}},
        "eq": "a=b",
        "empty": None,
        "t": "5",
    }


def test_the_last_override_wins(tmp_path: Path) -> None:
    path = write(tmp_path, a="x: 0\n") / "a.yaml"
    assert load_config(path, ["x=1", "x=2"]) == {"x": 2}


def test_all_bad_overrides_are_reported_together(tmp_path: Path) -> None:
    path = write(tmp_path, a="x: 1\nnothing:\n") / "a.yaml"
    bad = ("noequals", "=1", "a..b=1", "y=[1", "z={a: 1, a: 2}", "x.deep=1", "nothing.deep=1")
    problems = problems_of(path, bad)
    assert len(problems) == len(bad)
    for override, problem in zip(bad, problems, strict=True):
        assert problem.startswith(f"--set {override}: ")
    assert all("expected key.path=value" in problem for problem in problems[:3])
    assert "x is 1, which has no keys" in problems[5]


# -- nearest -------------------------------------------------------------------


def test_nearest_name_or_what_is_allowed() -> None:
    assert nearest("conformr", ["transformer", "conformer"]) == "; did you mean 'conformer'?"
    assert nearest("zzz", ["b", "a"]) == "; allowed: a, b"
    assert nearest("zzz", map(str, range(100))) == "", "a list that long helps nobody"
    assert nearest("zzz", []) == ""
    assert nearest(5, ["a"]) == "; allowed: a"


def test_several_files_are_merged_as_bases_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "model: ctc\nmodel_conf: {ctc_weight: 1.0}\noptim_conf: {lr: 1}\n"
    )
    (tmp_path / "b.yaml").write_text("model: encoder_only\noptim_conf: {eps: 2}\n")
    (tmp_path / "both.yaml").write_text("extends: [a.yaml, b.yaml]\n")
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    expected = {"model": "encoder_only", "optim_conf": {"lr": 1, "eps": 2}}
    assert load_config(paths) == load_config(tmp_path / "both.yaml") == expected
    assert load_config(paths, ["optim_conf.lr=3"])["optim_conf"] == {"lr": 3, "eps": 2}
    assert config_name(paths) == f"{paths[0]} + {paths[1]}" and config_name("a.yaml") == "a.yaml"


def test_a_base_may_lie_in_a_conf_that_recipes_share(tmp_path: Path) -> None:
    recipe = tmp_path / "egs" / "r" / "asr1" / "conf"
    shared = tmp_path / "conf" / "student"
    for folder in (recipe, shared):
        folder.mkdir(parents=True)
    (shared / "small.yaml").write_text("extends: base.yaml\na: 1\n")
    (shared / "base.yaml").write_text("b: 1\n")
    (recipe / "own.yaml").write_text("extends: student/small.yaml\nc: 1\n")
    assert load_config(recipe / "own.yaml") == {"a": 1, "b": 1, "c": 1}
    (recipe / "student").mkdir()
    (recipe / "student" / "small.yaml").write_text("a: 2\n")
    assert load_config(recipe / "own.yaml") == {"a": 2, "c": 1}, "the nearest counts"
    (recipe / "own.yaml").write_text("extends: student/nobody.yaml\n")
    with pytest.raises(UserError, match=r"conf/student/nobody.yaml: no such file"):
        load_config(recipe / "own.yaml")
