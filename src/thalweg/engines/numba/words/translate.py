"""Python's statements about words -> LLVM's text, one by one."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NoReturn

from llvmlite import ir

from .. import native
from .memory import DOUBLE, EMITTERS, WORD

_BIT = ir.IntType(1)


def translate(source: str, constants: Mapping[str, int], entry: str) -> str:
    """LLVM's text of a module.

    Args:
        source: its functions; imports are skipped.
        constants: what names of integers mean, bare or behind a module's name.
        entry: the function of one word to call, which returns nothing.

    Raises:
        SyntaxError: there is a statement or an expression that is not of this little language.
    """
    module = ir.Module("words")
    functions: dict[str, ir.Function] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            words = [WORD] * len(node.args.args)
            kind = ir.FunctionType(ir.VoidType() if node.name == entry else WORD, words)
            own = ir.Function(module, kind, native.ENTRY if node.name == entry else node.name)
            if node.name != entry:
                own.linkage = "internal"
            functions[node.name] = own
            _Function(own, node, functions, constants).write()
    return str(module)


class _Function:
    """Writes one function.

    Args:
        function: LLVM's, still empty.
        node: Python's.
        functions: those that it may call.
        constants: as `translate` takes them.
    """

    def __init__(
        self,
        function: ir.Function,
        node: ast.FunctionDef,
        functions: Mapping[str, ir.Function],
        constants: Mapping[str, int],
    ) -> None:
        self.function, self.node = function, node
        self.functions, self.constants = functions, constants
        self.start = function.append_basic_block("start")
        self.builder = ir.IRBuilder(function.append_basic_block("body"))
        self.variables: dict[str, Any] = {}
        self.next: list[Any] = []  # where `continue` goes, of each loop around

    def write(self) -> None:
        """All statements."""
        body = self.builder.block
        for argument, value in zip(self.node.args.args, self.function.args, strict=True):
            self._assign(argument.arg, value)
        self._all(self.node.body)
        if not self.builder.block.is_terminated:
            self._return(ir.Constant(WORD, 0))
        ir.IRBuilder(self.start).branch(body)

    def _all(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            write = getattr(self, f"_{type(statement).__name__.lower()}", self._refuse)
            write(statement)

    def _refuse(self, node: ast.AST) -> NoReturn:
        raise self._refusal(node)

    def _refusal(self, node: ast.AST) -> SyntaxError:
        line = getattr(node, "lineno", "?")
        return SyntaxError(f"line {line}: {ast.unparse(node)} is not of the language of words")

    def _expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self._value(node.value)

    def _assign(self, name: Any, value: Any = None) -> None:
        if isinstance(name, ast.Assign):
            (target,) = name.targets
            if isinstance(target, ast.Tuple) and isinstance(name.value, ast.Tuple):
                values = [self._value(v) for v in name.value.elts]
                for one, found in zip(target.elts, values, strict=True):
                    self._assign(ast.unparse(one), found)
                return
            if not isinstance(target, ast.Name):
                self._refuse(name)
            name, value = target.id, self._value(name.value)
        if name not in self.variables:
            self.variables[name] = ir.IRBuilder(self.start).alloca(value.type, name=name)
        self.builder.store(value, self.variables[name])

    def _augassign(self, node: ast.AugAssign) -> None:
        value = self._value(ast.BinOp(ast.Name(ast.unparse(node.target)), node.op, node.value))
        self._assign(ast.unparse(node.target), value)

    def _return(self, node: Any) -> None:
        value = node
        if isinstance(node, ast.Return):
            value = ir.Constant(WORD, 0) if node.value is None else self._value(node.value)
        if self.function.name == native.ENTRY:
            self.builder.ret_void()
        else:
            self.builder.ret(self._word(value))

    def _continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.next[-1])

    def _block(self, name: str) -> Any:
        return self.function.append_basic_block(name)

    def _inside(self, block: Any, statements: list[ast.stmt], after: Any) -> None:
        """The statements in a block of their own, which goes on to another."""
        self.builder.position_at_end(block)
        self._all(statements)
        if not self.builder.block.is_terminated:
            self.builder.branch(after)

    def _if(self, node: ast.If) -> None:
        then, other, after = self._block("then"), self._block("else"), self._block("after")
        self.builder.cbranch(self._bit(self._value(node.test)), then, other)
        self._inside(then, node.body, after)
        self._inside(other, node.orelse, after)
        self.builder.position_at_end(after)

    def _while(self, node: ast.While) -> None:
        test, body, after = self._block("test"), self._block("loop"), self._block("after")
        self.builder.branch(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(self._bit(self._value(node.test)), body, after)
        self.next.append(test)
        self._inside(body, node.body, test)
        self.next.pop()
        self.builder.position_at_end(after)

    def _for(self, node: ast.For) -> None:
        name, bounds = ast.unparse(node.target), node.iter
        if not (isinstance(bounds, ast.Call) and ast.unparse(bounds.func) == "range"):
            self._refuse(node)
        first, last = [ast.Constant(0), *bounds.args][-2:]
        self._assign(name, self._value(first))
        end = self._value(last)
        test, body = self._block("test"), self._block("loop")
        more, after = self._block("next"), self._block("after")
        self.builder.branch(test)
        self.builder.position_at_end(test)
        now = self.builder.load(self.variables[name])
        self.builder.cbranch(self.builder.icmp_signed("<", now, end), body, after)
        self.next.append(more)
        self._inside(body, node.body, more)
        self.next.pop()
        self.builder.position_at_end(more)
        now = self.builder.load(self.variables[name])
        self.builder.store(self.builder.add(now, ir.Constant(WORD, 1)), self.variables[name])
        self.builder.branch(test)
        self.builder.position_at_end(after)

    def _value(self, node: ast.expr) -> Any:
        """An expression's value: a word, a bit or a float64."""
        match node:
            case ast.Constant(value=float()):
                return ir.Constant(DOUBLE, node.value)
            case ast.Constant(value=int() as number):
                return ir.Constant(WORD, int(number))
            case ast.Name(id=name) if name in self.variables:
                return self.builder.load(self.variables[name])
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in self.constants:
                return ir.Constant(WORD, self.constants[name])
            case ast.UnaryOp(op=ast.Not()):
                return self.builder.not_(self._bit(self._value(node.operand)))
            case ast.BoolOp():
                return self._either(node)
            case ast.Compare(ops=[sign]):
                return self._compare(node, _SIGNS[type(sign)])
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.IfExp():
                return self._choice(node)
            case ast.Call(func=ast.Name(id=name)):
                args = [self._value(a) for a in node.args]
                if name in self.functions:
                    return self.builder.call(self.functions[name], list(map(self._word, args)))
                if name in EMITTERS:
                    return EMITTERS[name](self.builder, *args)
        raise self._refusal(node)

    def _arithmetic(self, node: ast.BinOp) -> Any:
        left, right = self._value(node.left), self._value(node.right)
        names = _ARITHMETIC.get(type(node.op), ("", ""))
        name = names[left.type == DOUBLE]
        if not name:
            self._refuse(node)
        return getattr(self.builder, name)(left, right)

    def _compare(self, node: ast.Compare, sign: str) -> Any:
        left, right = self._value(node.left), self._value(node.comparators[0])
        if left.type == DOUBLE:
            compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
            return compare(sign, left, right)
        return self.builder.icmp_signed(sign, self._word(left), self._word(right))

    def _either(self, node: ast.BoolOp) -> Any:
        """`and`, `or`: what comes later is not asked where the first decides."""
        found = ir.IRBuilder(self.start).alloca(_BIT)
        after = self._block("decided")
        for k, part in enumerate(node.values):
            bit = self._bit(self._value(part))
            self.builder.store(bit, found)
            if k + 1 == len(node.values):
                self.builder.branch(after)
                continue
            more = self._block("more")
            ways = (more, after) if isinstance(node.op, ast.And) else (after, more)
            self.builder.cbranch(bit, *ways)
            self.builder.position_at_end(more)
        self.builder.position_at_end(after)
        return self.builder.load(found)

    def _choice(self, node: ast.IfExp) -> Any:
        then, other, after = self._block("then"), self._block("else"), self._block("chosen")
        self.builder.cbranch(self._bit(self._value(node.test)), then, other)
        values = []
        for block, branch in ((then, node.body), (other, node.orelse)):
            self.builder.position_at_end(block)
            values.append((self._value(branch), self.builder.block))
            self.builder.branch(after)
        self.builder.position_at_end(after)
        chosen = self.builder.phi(values[0][0].type)
        for value, block in values:
            chosen.add_incoming(value, block)
        return chosen

    def _bit(self, value: Any) -> Any:
        if value.type == _BIT:
            return value
        return self.builder.icmp_signed("!=", value, ir.Constant(WORD, 0))

    def _word(self, value: Any) -> Any:
        return self.builder.zext(value, WORD) if value.type == _BIT else value


_SIGNS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_ARITHMETIC = {
    ast.Add: ("add", "fadd"),
    ast.Sub: ("sub", "fsub"),
    ast.Mult: ("mul", "fmul"),
    ast.FloorDiv: ("sdiv", "fdiv"),
    ast.Mod: ("srem", "frem"),
    ast.Div: ("", "fdiv"),
}
