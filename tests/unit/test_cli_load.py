"""What was typed leads to the app that is meant, or to a sentence that says what to type."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwell.cli.exits import LoadError, UsageError
from stepwell.cli.load import load_app, load_definition, load_flow, parse
from stepwell.define.definition import slug_of

Write = Callable[[str], str]
_number = itertools.count()

TWO_FLOWS = """
from stepwell import Flow, Stepwell
first, second = Flow("one"), Flow("two")
"""
APP = TWO_FLOWS + 'app = Stepwell(flows=[first], name="shop")\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A module of its own name for every call: Python keeps what it has imported."""

    def write(text: str) -> str:
        path = tmp_path / f"program_{id(tmp_path)}_{next(_number)}.py"
        path.write_text(text)
        return str(path)

    return write


def slugs(typed: str) -> list[str]:
    return [flow.slug for flow in load_app(typed).flows]


def test_a_file_with_one_app_needs_no_name(write: Write) -> None:
    assert slugs(write(APP)) == ["one"]


def test_a_file_with_flows_only_is_an_app_of_them(write: Write) -> None:
    assert slugs(write(TWO_FLOWS)) == ["one", "two"]


def test_queue_workers_alone_are_an_app_too(write: Write) -> None:
    path = write(
        "from stepwell import queue_worker\n"
        '@queue_worker("tasks")\n'
        "def handle(message: int) -> None: ...\n"
        '@queue_worker("mail")\n'
        "def send(message: int) -> None: ...\n"
    )
    assert [each.queue for each in load_app(path).queues] == ["tasks", "mail"]
    assert [each.queue for each in load_app(f"{path}:send").queues] == ["mail"]


def test_a_name_picks_an_app_or_a_flow(write: Write) -> None:
    path = write(APP)
    assert slugs(f"{path}:app") == ["one"]
    assert slugs(f"{path}:second") == ["two"]


def test_of_several_apps_the_one_called_app_is_meant(write: Write) -> None:
    assert slugs(write(APP + "other = Stepwell(flows=[second])\n")) == ["one"]


def test_several_apps_without_that_name_ask_which(write: Write) -> None:
    path = write(TWO_FLOWS + "a, b = Stepwell(flows=[first]), Stepwell(flows=[second])\n")
    with pytest.raises(UsageError, match=r"several apps \(a, b\); say which: .*:a"):
        load_app(path)


def test_one_app_under_two_names_is_one_app(write: Write) -> None:
    path = write(TWO_FLOWS + "a = b = Stepwell(flows=[first])\n")
    assert slugs(path) == ["one"]


def test_a_file_without_either_says_what_to_add(write: Write) -> None:
    with pytest.raises(UsageError, match=r"or queue worker; add: app = Stepwell"):
        load_app(write("x = 1\n"))


def test_a_wrong_name_lists_the_right_ones(write: Write) -> None:
    with pytest.raises(
        UsageError, match=r"has no 'ap'; its apps and definitions are: app, first, second"
    ):
        load_app(f"{write(APP)}:ap")


def test_a_name_of_something_else_is_refused(write: Write) -> None:
    with pytest.raises(UsageError, match="neither a Stepwell app nor a flow"):
        load_app(f"{write(APP + 'x = 1')}:x")


@pytest.mark.parametrize("name", ["first", "one", "app"])
def test_a_flow_is_found_by_variable_by_slug_and_as_the_only_one(write: Write, name: str) -> None:
    assert load_flow(f"{write(APP)}:{name}").slug == "one"


def test_a_flow_that_is_not_there_lists_those_that_are(write: Write) -> None:
    with pytest.raises(UsageError, match="no flow, machine or job 'three'; it has one, two"):
        load_flow(f"{write(TWO_FLOWS)}:three")


ALL_KINDS = """
from stepwell import Done, Flow, Machine, job, step

class Base(Machine, abstract=True):
    order: int

class Checkout(Base):
    @step(initial=True)
    def begin(self, ctx) -> Done: ...

class Checkout2(Checkout, name="checkout", version=2): ...

@job
def send(user_id: int) -> None: ...
"""


def test_machines_and_jobs_are_found_too(write: Write) -> None:
    path = write(ALL_KINDS)
    app = load_app(path)
    assert [machine.__name__ for machine in app.machines] == ["Checkout", "Checkout2"]
    assert [job.slug for job in app.jobs] == ["send"]
    for name, slug in (("send", "send"), ("Checkout", "checkout"), ("Checkout2", "checkout")):
        assert slug_of(load_definition(f"{path}:{name}")) == slug
    newest: Any = load_definition(f"{path}:checkout")
    assert newest.__name__ == "Checkout2"
    assert [machine.__name__ for machine in load_app(f"{path}:Checkout").machines] == ["Checkout"]
    with pytest.raises(UsageError, match=r"say which one of .* \(checkout, send\)"):
        load_definition(path)
    with pytest.raises(UsageError, match="is no flow"):
        load_flow(f"{path}:send")
    with pytest.raises(
        UsageError, match="neither a Stepwell app nor a flow, machine, job, handler or queue"
    ):
        load_app(f"{path}:Base")


def test_a_handler_can_be_served_alone(write: Write) -> None:
    path = write(
        """
from stepwell import handler

@handler("acct_*")
def call_tool(input): ...
"""
    )
    for typed in (path, f"{path}:call_tool"):
        assert [each.pattern for each in load_app(typed).handlers] == ["acct_*"]


def test_several_flows_ask_which(write: Write) -> None:
    with pytest.raises(UsageError, match=r"say which one of .* \(one, two\)"):
        load_flow(write(TWO_FLOWS))


@pytest.mark.parametrize("typed", ["", ":app", "app.py:"])
def test_what_names_nothing_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="names no program"):
        parse(typed)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        load_app(str(tmp_path / "gone.py"))
    with pytest.raises(UsageError, match="is a folder; name the file in it"):
        load_app(f"{tmp_path}/")


def test_a_missing_module_names_where_it_was_looked_for() -> None:
    with pytest.raises(UsageError, match=r"no module 'no_such_module' in "):
        load_app("no_such_module.sub:app")


def test_a_missing_import_inside_the_program_is_its_own_error(write: Write) -> None:
    with pytest.raises(LoadError, match=r"line 2\)\nModuleNotFoundError: .*'gone_and_lost'"):
        load_app(write("\nimport gone_and_lost\n"))


def test_an_error_of_the_program_names_its_line(write: Write) -> None:
    with pytest.raises(LoadError, match=r"line 3\)\nDefinitionError: flow 'run'"):
        load_app(write('\nfrom stepwell import Flow\nflow = Flow("run")\n'))


def test_a_syntax_error_names_its_line(write: Write) -> None:
    with pytest.raises(LoadError, match=r"line 2\)\nSyntaxError"):
        load_app(write("x = 1\ndef (:\n"))


def test_a_file_in_a_package_is_imported_as_its_part(tmp_path: Path) -> None:
    package = tmp_path / "shop_of_the_tests"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text(TWO_FLOWS)
    (package / "app.py").write_text("from .parts import first\n")
    assert slugs(str(package / "app.py")) == ["one"]
    assert slugs("shop_of_the_tests.parts:second") == ["two"]


def test_a_file_named_like_a_loaded_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(APP)
    with pytest.raises(UsageError, match="give the file another name"):
        load_app(str(tmp_path / "json.py"))


@pytest.mark.parametrize(("name", "flow"), [("hello", "greet"), ("article", "analyze_article")])
def test_the_examples_are_apps(name: str, flow: str) -> None:
    path = Path(__file__).parents[2] / "examples" / name / "app.py"
    code = f"from stepwell.cli.load import load_app; print(load_app({str(path)!r}).flows)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"<Flow {flow}: " in done.stdout, done.stderr
