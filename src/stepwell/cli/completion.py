"""`stepwell completion`: what makes a shell complete commands and options."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from stepwell.cli.exits import Exit

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[Shell, Parameter(help="Which shell.")], /) -> int:
    """Print what makes a shell complete commands and options.

    bash: add `source <(stepwell completion bash)` to ~/.bashrc.
    zsh: save it as _stepwell in a folder of $fpath.
    fish: save it as ~/.config/fish/completions/stepwell.fish.
    """
    from stepwell.cli.main import make_app  # noqa: PLC0415 (which names this command)

    print(make_app().generate_completion(shell=shell))
    return Exit.OK
