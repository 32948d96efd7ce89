"""``spikeloom list``."""

from spikeloom.errors import UnknownNameError, suggest
from spikeloom.recipe import RECIPES


def list_recipes(arguments: list[str]) -> None:
    """``spikeloom list [PATTERN]``"""
    if "-h" in arguments or "--help" in arguments:
        print(
            "usage: spikeloom list [PATTERN]\n\nThe recipes whose names contain PATTERN, or match it if it "
            "has a *; without one, all:\n"
        )
        arguments = []
    if len(arguments) > 1:
        raise UnknownNameError(f"`spikeloom list` takes one pattern, got {' '.join(arguments)}.")
    pattern = arguments[0] if arguments else "*"
    names = RECIPES.names(pattern if set(pattern) & set("*?[") else f"*{pattern}*")
    if not names:
        raise UnknownNameError(f"No recipe matches '{arguments[0]}'. {suggest(arguments[0], RECIPES)}")
    width = max(len(name) for name in names)
    for name in names:
        recipe = RECIPES[name]
        print(f"{name:{width}}  {(recipe.__doc__ or '').strip().splitlines()[0]}")
        print(f"{'':{width}}  reaches {recipe.claim}")
        print(f"{'':{width}}  takes   {recipe.cost}")
