"""The syntax tree of a chat template, with the meter's operations put where values are made, compared or walked over.

They are put in as filters, which Jinja compiles to plain calls. Statements and expressions that no chat template needs
are refused: other files (include, import, extends), blocks, recursive loops.
"""

from __future__ import annotations

from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer

from xtune.templates.own_jinja.filters import LAZY
from xtune.templates.own_jinja.meter import LONGEST_INT

STEP = 16
"""What a node of the tree costs each time that it is run."""
KNOWN = {
    "Template", "Output", "TemplateData", "For", "If", "Break", "Continue", "Assign", "AssignBlock", "With", "Macro",
    "CallBlock", "FilterBlock", "Name", "NSRef", "Const", "Tuple", "List", "Dict", "Pair", "Keyword", "CondExpr",
    "Filter", "Test", "Call", "ExtensionAttribute", "Getattr", "Getitem", "Slice", "Concat", "Compare", "Operand",
    "Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "And", "Or", "Not", "Neg", "Pos",
}  # fmt: skip
OPERATIONS = {"Mod": "~modulo", "Mul": "~multiply", "Pow": "~power"}
GIVEN = {"count", "d", "default", "first", "last", "length"}
"""Filters whose value is there already, or is a small number."""


def rewrite(tree: nodes.Template) -> int:
    """Rewrites the tree in place. Returns what a call of its costliest macro costs.

    Raises TemplateSyntaxError for what a chat template may not use.
    """
    macros = [cost(macro.body) for macro in tree.find_all(nodes.Macro)]
    macros += [cost(block.body) for block in tree.find_all(nodes.CallBlock)]
    Rewriter().visit(tree)
    return max(macros, default=0)


def cost(body: list[nodes.Node]) -> int:
    """What a body costs each time that it is run: its nodes, and the text that it writes."""
    found = [node for statement in body for node in (statement, *statement.find_all(nodes.Node))]
    texts = [getattr(node, "data", getattr(node, "value", "")) for node in found]
    return STEP * len(found) + sum(len(text) for text in texts if isinstance(text, str))


def constant(node: Any) -> bool:
    """A value that stands in the template."""
    if isinstance(node, (nodes.List, nodes.Tuple)):
        return all(constant(item) for item in node.items)
    return isinstance(node, nodes.Const)


def number(node: Any) -> bool:
    """A number that stands in the template."""
    return isinstance(node, nodes.Const) and isinstance(node.value, (int, float))


def put(name: str, node: Any, *args: Any) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def unwrapped(node: Any) -> Any:
    """A sum inside a sum, which is counted as a whole."""
    return node.node if isinstance(node, nodes.Filter) and node.name == "~charge" else node


def fail(what: str, node: nodes.Node) -> NoReturn:
    raise TemplateSyntaxError(f"{what} is not for chat templates", node.lineno)


class Rewriter(NodeTransformer):
    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if type(node).__name__ not in KNOWN:
            fail(f"{{% {type(node).__name__.lower()} %}}", node)
        return super().visit(node, *args, **kwargs)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, int) and node.value.bit_length() > LONGEST_INT:
            fail("a number of so many digits", node)
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            fail("a recursive loop", node)
        step, ends_early = cost(node.body), node.find(nodes.Break) is not None
        self.generic_visit(node)
        node.iter = put("~counted" if ends_early else "~walked", node.iter, nodes.Const(step))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [self.written(child) for child in node.nodes]
        return node

    def written(self, node: Any) -> Any:
        if isinstance(node, (nodes.TemplateData, nodes.Const)) or getattr(node, "name", "") == "~concat":
            return node
        return put("~out", unwrapped(node))

    def visit_Add(self, node: nodes.Add) -> nodes.Node:
        self.generic_visit(node)
        if number(node.left) or number(node.right):
            return node
        node.left, node.right = unwrapped(node.left), unwrapped(node.right)
        return put("~charge", node)

    def visit_Sub(self, node: nodes.Sub) -> nodes.Node:
        self.generic_visit(node)
        return node if number(node.right) else put("~minus", node.left, node.right)

    def operation(self, node: nodes.BinExpr) -> nodes.Node:
        self.generic_visit(node)
        return put(OPERATIONS[type(node).__name__], node.left, node.right)

    visit_Mod = visit_Mul = visit_Pow = operation

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return put("~concat", *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        inside = [operand for operand in node.ops if operand.op in ("in", "notin") and not constant(operand.expr)]
        if not inside:
            if not (constant(node.expr) or all(constant(operand.expr) for operand in node.ops)):
                node.expr = put("~read", node.expr)
                for operand in node.ops[:-1]:
                    operand.expr = put("~read", operand.expr)
            return node
        if len(node.ops) > 1:
            fail("a chain of comparisons with `in`", node)
        found = put("~in", node.expr, inside[0].expr)
        return nodes.Not(found, lineno=node.lineno) if inside[0].op == "notin" else found

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            return put("~charge", node)
        if not isinstance(node.arg, (nodes.Const, nodes.Sub, nodes.Add, nodes.Neg)):
            node.arg = put("~index", node.arg)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        if not constant(node.key):
            node.key = put("~key", node.key)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            fail("a call with * or **", node)
        return self.generic_visit(node)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            fail("a filter with * or **", node)
        self.generic_visit(node)
        if node.name in GIVEN:
            return node
        return put("~drained" if node.name in LAZY else "~charge", node)
