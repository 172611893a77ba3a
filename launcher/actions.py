"""The actions of a screen, as help and palette list them."""

from __future__ import annotations

from typing import Any, NamedTuple

from textual.command import DiscoveryHit, Hit, Hits
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.system_commands import SystemCommandsProvider

SHARED = ("every", "app")
"""Tables of keys that are listed after those of the screen itself, in this order."""


class Action(NamedTuple):
    """One action of a screen.

    Attributes:
        label: a word or two.
        about: what it does; may be empty.
        keys: as they are displayed.
        reason: why it cannot be done now; empty if it can.
        node: the screen or widget that has the action.
        action: as Textual runs it.
    """

    label: str
    about: str
    keys: str
    reason: str
    node: DOMNode
    action: str

    @property
    def explanation(self) -> str:
        """What it does, or why it cannot be done now."""
        return f"not now: {self.reason}" if self.reason else self.about


def actions_of(screen: Screen[Any]) -> list[Action]:
    """Return the actions with a key on a screen, the screen's own first."""
    found: dict[str, tuple[int, Action]] = {}
    for active in screen.active_bindings.values():
        binding, node = active.binding, active.node
        scope = (binding.id or "").partition(".")[0]
        # Textual's own bindings of lists and tables have no id.
        if not scope or not binding.description:
            continue
        reason, keys = "", screen.app.get_key_display(binding)
        if not active.enabled:
            unavailable = getattr(node, "unavailable", None)
            reason = (
                unavailable(binding.action.partition("(")[0])
                if unavailable
                else "not here"
            )
        if binding.id in found:
            keys = f"{found[binding.id][1].keys} {keys}"
        action = Action(
            binding.description, active.tooltip, keys, reason, node, binding.action
        )
        rank = SHARED.index(scope) + 1 if scope in SHARED else 0
        found[str(binding.id)] = rank, action
    return [action for _, action in sorted(found.values(), key=lambda each: each[0])]


class Commands(SystemCommandsProvider):
    """The palette: what the screen's keys do, then Textual's own commands."""

    async def discover(self) -> Hits:
        """Yield all actions of the screen, the unavailable ones dimmed."""
        for action in actions_of(self.screen):
            display = Content.styled(action.label, "dim" if action.reason else "")
            yield DiscoveryHit(
                display, self._runner(action), action.label, _help(action)
            )
        async for hit in super().discover():
            yield hit

    async def search(self, query: str) -> Hits:
        """Yield the commands that match a text."""
        matcher = self.matcher(query)
        for action in actions_of(self.screen):
            if (score := matcher.match(action.label)) > 0:
                display = matcher.highlight(action.label)
                if action.reason:
                    display = display.stylize("dim")
                yield Hit(
                    score, display, self._runner(action), action.label, _help(action)
                )
        async for hit in super().search(query):
            yield hit

    def _runner(self, action: Action) -> Any:
        async def run() -> None:
            if action.reason:
                text = f"{action.label}: {action.explanation}."
                self.app.notify(text, severity="warning", markup=False)
            else:
                await self.app.run_action(action.action, action.node)

        return run


def _help(action: Action) -> str:
    keys = f"key {action.keys}"
    return f"{action.explanation} ({keys})" if action.explanation else keys
