"""What a function of kernel text does with kernel functions, events and addresses.

A kernel function runs under `yield from`, an event happens under `yield`, and an address is no
number: each expression is looked at in the place where it stands.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from sandbox.kernels.guard.findings import Finding, named, nearest, written
from sandbox.kernels.guard.kinds import (
    CONTAINER,
    NONE,
    VALUE,
    Kind,
    What,
    annotated,
    declared_names,
    is_event_maker,
    is_kernel_function,
)
from sandbox.kernels.guard.reach import after_calls, unreachable
from sandbox.kernels.guard.scope import Scope

__all__ = ["look_at"]

_TAKE_VALUES = (int, bool, float, range, min, max, abs, sum, round, divmod, pow, any, all)
_WHOLE_VALUES = frozenset(("add", "try_add", "bits", "cas", "store", "xchg"))
"""Events whose operands, after the address, are values."""
_AT_A_WORD = _WHOLE_VALUES | frozenset(
    ("load", "lock", "trylock", "unlock", "lock_bit", "user_store")
)


def look_at(scope: Scope, *, iterator: bool = False) -> list[Finding]:
    """Find the mistakes in a function's own text; an iterator yields what it likes."""
    return _Body(scope, iterator).findings()


class _Body:
    def __init__(self, scope: Scope, iterator: bool) -> None:
        self.scope, self.iterator = scope, iterator
        self.generator = scope.yields
        self.found: list[Finding] = []
        self._run = {
            node.value.id
            for node in scope.nodes
            if isinstance(node, ast.YieldFrom) and isinstance(node.value, ast.Name)
        }
        self._handed = {
            arg.id
            for node in scope.nodes
            if isinstance(node, ast.Call)
            for arg in [*node.args, *(word.value for word in node.keywords)]
            if isinstance(arg, ast.Name)
        }
        body = [] if isinstance(scope.node, ast.Lambda) else scope.node.body
        dead = unreachable(body)
        self._before = {id(node): call for call, node in after_calls(body)}
        self._dead = {id(node) for part in dead for node in ast.walk(part)}

    def findings(self) -> list[Finding]:
        for node in self.scope.nodes:
            self._statement(node)
            self._expression(node)
        return self.found

    def _say(self, node: ast.AST, message: str, expected: str) -> None:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        self.found.append(Finding(self.scope.source.path, line, column + 1, message, expected))

    # -- where expressions stand ---------------------------------------------------------------

    def _statement(self, node: ast.AST) -> None:
        match node:
            case ast.Expr(value=value) if not isinstance(value, ast.Yield | ast.YieldFrom):
                self._not_run(value, "")
            case ast.Assign(targets=targets, value=value):
                self._assigned(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assigned([target], value)
            case ast.AugAssign(target=target, op=op, value=value):
                self._stored(target)
                self._calculated(value, alone=self._is(target) is not What.ADDRESS, op=op)
            case ast.If(test=test) | ast.While(test=test) | ast.Assert(test=test):
                self._tested(test)
            case ast.For(iter=value) | ast.comprehension(iter=value):
                self._value(value, "gone through")
            case ast.Return(value=ast.expr() as value) if self.generator:
                self._not_run(value, "returned")
            case ast.Match(subject=value):
                self._value(value, "compared")
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                self._tested(test)

    def _expression(self, node: ast.AST) -> None:
        match node:
            case ast.IfExp(test=test):
                self._tested(test)
            case ast.UnaryOp(op=ast.Not(), operand=value):
                self._tested(value)
            case ast.UnaryOp(operand=value):
                self._value(value, "calculated with")
            case ast.BoolOp(values=values):
                for value in values[:-1]:
                    self._tested(value)
            case ast.Compare():
                self._compared([node.left, *node.comparators], node.ops)
            case ast.BinOp(left=left, op=op, right=right):
                self._pair(left, op, right)
            case ast.Yield(value=value):
                self._yielded(node, value)
            case ast.YieldFrom(value=value):
                self._run_from(node, value)
            case ast.Call():
                self._called(node)
            case _:
                self._part(node)

    def _part(self, node: ast.AST) -> None:
        match node:
            case ast.Subscript(value=value, slice=index):
                self._not_run(value, "read")
                self._not_run(index, "an index")
            case ast.Attribute(value=value):
                self._not_run(value, "read")
                self._there(node)
            case ast.FormattedValue(value=value):
                self._not_run(value, "shown")

    def _is(self, node: ast.expr | None) -> What:
        return self.scope.kind(node).what

    # -- kernel functions that do not run, events that do not happen ------------------------------

    def _not_run(self, node: ast.expr, used: str) -> bool:
        """Refuse what would have to be run, or to happen, first."""
        what = self._is(node)
        if what is not What.CALL and what is not What.EVENT:
            return False
        text = written(node)
        how = f" and {used}" if used else ""
        if what is What.CALL:
            self._say(
                node,
                f"{text} is called without `yield from`{how}, so it does nothing",
                f"yield from {text}",
            )
        elif not isinstance(node, ast.Name):
            self._say(node, f"the event {text} is made{how} but never happens", f"yield {text}")
        else:
            self._say(node, f"{text} is an event{how}, not its answer", f"(yield {text})")
        return True

    def _assigned(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        for target in targets:
            self._stored(target)
        what = self._is(value)
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if what is What.CALL:
            used = names & (self._run | self._handed)
            if not used and (self.generator or not names):
                self._not_run(value, "its result assigned")
        elif what is What.EVENT and not names:
            self._not_run(value, "assigned")

    def _stored(self, target: ast.expr) -> None:
        """An assignment to a handle's field changes no word."""
        for node in ast.walk(target):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                kind = self.scope.kind(node.value)
                if kind.what is What.HANDLE and self._is(node) is not What.UNKNOWN:
                    text = written(node)
                    message = f"{text} is assigned, and a handle has addresses, not values"
                    self._say(node, message, f"yield store({text}, ...)")

    # -- addresses -------------------------------------------------------------------------------

    def _value(self, node: ast.expr, used: str) -> bool:
        """Refuse an address, and what has not happened, where a value is needed."""
        what = self._is(node)
        if what is What.ADDRESS:
            text = written(node)
            loaded = f"(yield load({text}))"
            self._say(node, f"{text} is an address and is {used} as a value", loaded)
            return True
        if what is What.FUNCTION and not isinstance(node, ast.Lambda):
            return self._uncalled(node, used)
        return self._not_run(node, used)

    def _uncalled(self, node: ast.expr, used: str) -> bool:
        function, text = self.scope.kind(node).of, written(node)
        if used not in ("tested", "calculated with", "compared") or function is None:
            return False
        run = f"yield from {text}(...)" if is_kernel_function(function) else f"{text}(...)"
        self._say(node, f"{text} is a function and is {used} without being called", run)
        return True

    def _tested(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            node = node.values[-1]  # the others are looked at for themselves
        if isinstance(node, ast.NamedExpr):
            node = node.value
        self._value(node, "tested")

    def _compared(self, operands: list[ast.expr], ops: list[ast.cmpop]) -> None:
        """Two addresses may be compared: whether they are of one word."""
        for left, op, right in zip(operands, ops, operands[1:], strict=False):
            pair = [self._is(left), self._is(right)]
            if pair == [What.ADDRESS, What.ADDRESS]:
                continue
            if isinstance(op, ast.In | ast.NotIn):
                self._not_run(left, "compared")
                self._value(right, "searched")
                continue
            same = isinstance(op, ast.Is | ast.IsNot)
            for operand in (left, right):
                if same and (isinstance(operand, ast.Name) or self._is(operand) is What.FUNCTION):
                    continue
                if self._value(operand, "compared"):
                    return

    def _pair(self, left: ast.expr, op: ast.operator, right: ast.expr) -> None:
        """A number may be added to an address: that is the address of a word further on."""
        pair = (self._is(left), self._is(right))
        pointer = isinstance(op, ast.Add | ast.Sub) and What.ADDRESS in pair
        if pointer and pair.count(What.ADDRESS) == 1:
            other = left if pair[1] is What.ADDRESS else right
            if not (isinstance(op, ast.Sub) and pair[1] is What.ADDRESS):
                self._not_run(other, "calculated with")
                return
        if pointer and isinstance(op, ast.Sub) and pair.count(What.ADDRESS) == 2:
            return
        for operand in (left, right):
            self._value(operand, "calculated with")

    def _calculated(self, value: ast.expr, *, alone: bool, op: ast.operator) -> None:
        if alone or not isinstance(op, ast.Add | ast.Sub):
            self._value(value, "calculated with")
        else:
            self._not_run(value, "calculated with")

    def _there(self, node: ast.Attribute) -> None:
        """What is read of the kernel must be there: in its classes, or made by a function."""
        kind, name = self.scope.kind(node.value), node.attr
        if kind.what is not What.KERNEL or not isinstance(node.ctx, ast.Load):
            return
        known = {key: None for cls in kind.of for key in vars(cls)}
        if not name.startswith("__") and name not in known and name not in declared_names():
            near = nearest(name, (key for key in known if not key.startswith("__")))
            text = written(node)
            self._say(node, f"{text}: the kernel has no {name}", near or "what the kernel has")

    # -- calls -----------------------------------------------------------------------------------

    def _called(self, node: ast.Call) -> None:
        kind = self.scope.kind(node.func)
        function = kind.of
        args = [*node.args, *(word.value for word in node.keywords)]
        if kind.what is What.CLASS and function in _TAKE_VALUES:
            for arg in args:
                self._value(arg, f"given to {function.__name__}()")
        elif kind.what is What.CLASS and getattr(function, "__module__", "") == "builtins":
            for arg in args:
                self._not_run(arg, f"given to {function.__name__}()")
        elif kind.what is not What.FUNCTION or function is None:
            return
        elif is_event_maker(function):
            self._event(function.__name__, node)
        elif getattr(function, "__module__", "") == "builtins":
            look = self._value if function in _TAKE_VALUES else self._not_run
            for arg in args:
                look(arg, f"given to {function.__name__}()")
        elif str(getattr(function, "__module__", "")).startswith("sandbox."):
            self._operands(function, node)

    def _event(self, name: str, node: ast.Call) -> None:
        """An event is at the address of a word, and what else it takes are values."""
        args = [*node.args, *(word.value for word in node.keywords)]
        for index, arg in enumerate(args):
            if index and name in _WHOLE_VALUES:
                self._value(arg, f"given to {name}()")
            elif self._not_run(arg, f"given to {name}()") or index or name not in _AT_A_WORD:
                continue
            elif self._is(arg) is What.HANDLE:
                text = written(arg)
                message = f"{name}() is given the handle {text}, which is no word"
                self._say(arg, message, f"the address of a field, as {text}.flags")

    def _operands(self, function: object, node: ast.Call) -> None:
        """What a function of the models is given."""
        hints = getattr(function, "__annotations__", {})
        names = list(hints)
        given = [arg for arg in node.args if self._is(arg) is not What.KERNEL]
        for index, arg in enumerate(given):
            wanted = annotated(hints[names[index]]) if index < len(names) else VALUE
            if self._not_run(arg, f"given to {written(node.func)}()"):
                continue
            if self._is(arg) is What.ADDRESS and wanted.what is What.HANDLE:
                self._value(arg, f"given to {written(node.func)}()")

    # -- yields ----------------------------------------------------------------------------------

    def _yielded(self, node: ast.Yield, value: ast.expr | None) -> None:
        if self.iterator or id(node) in self._dead:
            return
        kind = self.scope.kind(value)
        if kind.what is What.EVENT:
            return
        event = "an event, as load(...) makes"
        if value is None:
            if self._may_not_return(node):
                return
            self._say(node, "`yield` alone yields None, which is not an event", event)
            return
        text = written(value)
        if kind.what is What.CALL:
            message = f"{text} is a kernel function and is yielded without `from`"
            self._say(node, message, f"yield from {text}")
        elif kind.what is What.ADDRESS:
            self._say(node, f"{text} is an address and is yielded", f"yield load({text})")
        elif kind.what is What.TUPLE:
            if not _may_be_event(value, kind):
                self._say(node, f"{text} is yielded, which is not an event", event)
        elif kind in (VALUE, NONE, CONTAINER) or kind.what in (
            What.HANDLE, What.FUNCTION, What.KERNEL, What.CLASS,
        ):  # fmt: skip
            what = "" if kind == NONE else f" is {named(kind)} and"
            self._say(node, f"{text}{what} is yielded, which is not an event", event)

    def _may_not_return(self, node: ast.Yield) -> bool:
        """Whether a `yield` that makes a generator comes after a call of nobody knows what."""
        before = self._before.get(id(node))
        if before is None or self._is(before) is not What.UNKNOWN:
            return False
        kind = self.scope.kind(before.func)
        module = str(getattr(kind.of, "__module__", ""))
        return not module.startswith(("sandbox.", "mmtui_own_"))

    def _run_from(self, node: ast.YieldFrom, value: ast.expr) -> None:
        if self.iterator or id(node) in self._dead:
            return
        kind = self.scope.kind(value)
        if kind.what is What.CALL:
            return
        text = written(value)
        if kind.what is What.EVENT:
            self._say(node, f"the event {text} is yielded with `from`", f"yield {text}")
        elif kind in (VALUE, NONE) or kind.what in (
            What.ADDRESS, What.HANDLE, What.KERNEL, What.CLASS,
        ):  # fmt: skip
            wanted = "a kernel function that is called"
            self._say(node, f"{text} is {named(kind)} and is run with `yield from`", wanted)
        elif kind.what is What.FUNCTION:
            self._say(node, f"{text} is run without being called", f"yield from {text}(...)")
        elif isinstance(value, ast.Call) and self._is_plain(value.func):
            message = f"{text} is no kernel function and is run with `yield from`"
            self._say(node, message, f"{text}, without `yield from`")

    def _is_plain(self, func: ast.expr) -> bool:
        """Whether what is called is a function of the models that is not run."""
        kind = self.scope.kind(func)
        module = str(getattr(kind.of, "__module__", ""))
        return kind.what is What.FUNCTION and module.startswith("sandbox.")


def _may_be_event(node: ast.expr, kind: Kind) -> bool:
    if len(kind.of) < 2:
        return False
    first = node.elts[0] if isinstance(node, ast.Tuple) else None
    return not isinstance(first, ast.Constant) or type(first.value) is int
