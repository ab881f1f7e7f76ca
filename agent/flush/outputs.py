"""Who is sent what: the lanes that share a view, and the form each of them is rendered in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent import model
from agent.model import Encoding, Form
from agent.store.encode import LabelRules
from agent.store.pages import View
from agent.store.snapshot import Snapshots
from agent.store.store import Store


class Lane(Protocol):
    """What a flush needs of a sink's lane."""

    @property
    def name(self) -> str:
        """The sink's."""
        ...

    def offer(self, item: Any, /) -> None:
        """Queue it; never blocks."""
        ...


@dataclass
class Output:
    """The lanes that share one view: equal protocol and labels."""

    protocol: model.Protocol
    rules: LabelRules
    native_histograms: bool
    view: View | Snapshots
    """The latter for text, which keeps no pages."""
    lanes: list[tuple[Lane, Encoding]] = field(default_factory=list)

    @property
    def key(self) -> tuple[model.Protocol, LabelRules, bool]:
        """Lanes with equal keys share it."""
        return self.protocol, self.rules, self.native_histograms


class Outputs:
    """Every view in use, and its lanes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._outputs: list[Output] = []
        self._switches: dict[Lane, Form] = {}

    def __iter__(self) -> Iterator[Output]:
        """Those that there are now; lanes may come and go meanwhile."""
        return iter(list(self._outputs))

    def attach(self, lane: Lane, form: Form, rules: LabelRules, native_histograms: bool) -> Output:
        """Send to this lane; lanes with equal protocol and labels share a view."""
        for output in self._outputs:
            if output.key == (form.protocol, rules, native_histograms):
                output.lanes.append((lane, form.encoding))
                return output
        view: View | Snapshots
        if form.protocol is model.Protocol.TEXT:
            view = Snapshots(self._store, rules)
        else:
            view = self._store.add_view(form.protocol, rules, native_histograms=native_histograms)
        self._outputs.append(Output(form.protocol, rules, native_histograms, view, [(lane, form.encoding)]))
        return self._outputs[-1]

    def detach(self, lane: Lane) -> None:
        """Stop sending to it; a view without lanes goes."""
        self._switches.pop(lane, None)
        for output in self:
            output.lanes = [pair for pair in output.lanes if pair[0] is not lane]
            self._drop_unused(output)

    def switch(self, lane: Lane, form: Form) -> None:
        """Have the lane sent another form, once `settle_switches` is called."""
        self._switches[lane] = form

    def settle_switches(self) -> None:
        """Make the switches that were asked for; no walk may be on."""
        for lane, form in self._switches.items():
            for output in self:
                if all(own is not lane for own, _ in output.lanes):
                    continue
                if output.protocol is form.protocol:
                    output.lanes = [(own, form.encoding if own is lane else encoding) for own, encoding in output.lanes]
                    continue
                new = self.attach(lane, form, output.rules, output.native_histograms)
                if isinstance(new.view, View) and len(new.lanes) == 1:
                    new.view.take_for_sent()
                output.lanes = [pair for pair in output.lanes if pair[0] is not lane]
                self._drop_unused(output)
        self._switches.clear()

    def _drop_unused(self, output: Output) -> None:
        if not output.lanes:
            self._outputs.remove(output)
            if isinstance(output.view, View):
                self._store.remove_view(output.view)
