"""What lines are about: one obvious example for each count and language, and Python's own parser."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.kernels.lexical import lexical_stats


def counts(text: str, lang: str, *names: str) -> tuple[int, ...]:
    found = lexical_stats(pa.array([text], pa.large_string()), pa.array([lang]))
    return tuple(int(getattr(found, name)[0]) for name in names)


@pytest.mark.parametrize(
    ("name", "lang", "text", "wanted"),
    [
        ("def_lines", "Python", "def f(): pass\nasync def g():\n    x = lambda: 1\n# def h\ndefine = 1\n", 2),
        ("def_lines", "JavaScript", "export async function f(a) {\n}\nclass A {\n  get x() {\n    if (a) {\n", 2),
        ("def_lines", "JavaScript", "describe('a', () => {\n  it(1, function() {\n    f()\n    g()\n  })\n})\n", 0),
        ("def_lines", "TypeScript", "class A {\n  private async f<T>(x: T): Promise<T> {\n    for (;;) {}\n", 1),
        ("def_lines", "Java", "class A {\n  @Test(x = {1})\n  public void f(int a)\n      throws B {\n    g(1);\n", 1),
        ("def_lines", "Java", "  A(int x) {\n    if (x) {\n    } else if (y) {\n    }\n    new B() {\n", 1),
        ("def_lines", "Java", "class A {\n  @B // note\n  static C f() {\n    h(new R() {\n      void g() {\n", 2),
        ("def_lines", "C#", '[Case("a")]\npublic async Task<int> F() {\n  foreach (var x in y) {\n', 1),
        ("def_lines", "C++", "int A::f(int x) const\n{\n  while (g(x)) {\n  }\n}\nint y = h(1);\nTEST(A, B) {\n", 2),
        ("def_lines", "C", "static struct a *f(void)\n{\n  list_for_each(x) {\n  }\n}\n", 1),
        ("def_lines", "Go", "func f() {\n}\nfunc (a *B) g() {\n  h := func() {\n", 2),
        ("def_lines", "Rust", "pub(crate) async fn f() {\n}\nfn g() {\n    x();\n", 2),
        ("def_lines", "Kotlin", "override suspend fun f() = 1\nprivate inline fun <T> g() {\n", 2),
        ("def_lines", "Scala", "implicit def f = 1\nval x = 2\n", 1),
        ("def_lines", "Swift", "public static func f() {\n  init(x: Int) {\n", 2),
        ("def_lines", "Dart", "void f() {\n}\nint g(x) async {\n  if (x) {\n", 2),
        ("def_lines", "PHP", "<?php\npublic function f() {\nif (x) {\n", 1),
        ("def_lines", "Ruby", "def f\n  g do\nend\n", 1),
        ("def_lines", "Shell", "f() {\n  if (g) ; then\n}\nfunction h {\n  k \"()\"\n}\nm()\n{\n", 3),
        ("def_lines", "SQL", "CREATE OR REPLACE FUNCTION f() AS $$\nselect 1;\n", 1),
        ("def_lines", "Lua", "local function f()\nx = function() end\n", 1),
        ("pass_lines", "Python", "def f():\n    pass\nclass A: pass\npassword = 1\n", 1),
        ("import_lines", "Python", "import a\nfrom b import c\nimportant = 1\nx(\n  from_=1)\n", 2),
        ("import_lines", "C", '#include <a.h>\n#  include "b.h"\n#define include\n', 2),
        ("import_lines", "C#", "using A;\nusing (var x = y) {\n", 1),
        ("import_lines", "Go", "import (\n", 1),
        ("import_lines", "Rust", "pub use a::b;\nextern crate c;\nused();\n", 2),
        ("print_lines", "Python", "print(1)\nx = print\n'''\nprint(2)\n'''\nprinter(3)\n", 1),
        ("print_lines", "Java", 'System.out.println("a");\nSystem.exit(1);\nSystem . out.printf(1);\n', 1),
        ("print_lines", "JavaScript", "console.log(1)\n} console.error(2)\nconsoles.log(3)\n", 2),
        ("print_lines", "Go", "fmt.Println(1)\nfmt.Errorf(2)\n", 1),
        ("print_lines", "Rust", 'println!("a");\nprintln(1);\n', 1),
        ("print_lines", "C++", "std::cout << 1;\nprintf(1);\nstd::move(x);\n", 2),
        ("assert_lines", "Python", "assert x\nself.assertEqual(1, 1)\nself.asset()\n", 2),
        ("assert_lines", "Java", "assertEquals(1, 2);\nAssert.that(x);\nasserting = 1;\n", 3),
        ("assert_lines", "Rust", "assert_eq!(a, b);\n", 1),
        ("return_lines", "Go", "return nil\nreturned := 1\n} return x\n", 2),
        ("prompt_comment_lines", "Python", "# TODO x\n# Fixme: your code here\n# done\ntodo = 'TODO'\n", 2),
        ("prompt_comment_lines", "C", "/* a\n * Write your code\n * below */ // YOUR CODE HERE\n// your code\n", 2),
        ("preprocessor_lines", "C", "#if A\n# define B \\\n  c\n#endif\nx = '#';\n  #pragma\n", 4),
        ("main_definitions", "C", "int main(void);\nint main(void)\n{\n  main();\n}\nint domain() {\n}\n", 1),
        ("main_definitions", "C++", "namespace a {\nint main() {\n}\n}\nint main(int c, char **v) {\n}\n", 2),
        ("main_definitions", "C", "#if A\nint f() {\n#else\nint f(int x) {\n#endif\n}\nint main() {\n}\n", 1),
        ("declaration_lines", "C", "int f(int);\nextern char *g(\n  int a);\nf(1);\nint h() {\n  int k(2);\n}\n", 2),
        ("declaration_lines", "C", 'extern "C" {\nint f(void);\n}\ntypedef int (*g)(int);\nint x = f(1);\n', 1),
        ("functions", "Python", "class A:\n    def f(self):\n        def g(): return 1\n        return g\n", 2),
        ("assignments", "Python", "x = 1\nx += 1\nf(y=1)\nx == 1\ny: int\nx <= 1\nif x:\n", 3),
        ("assignments", "Java", "int x;\nString s = a;\nreturn x;\nfor (int i = 0;;) {\nf(x);\nbreak;\n", 3),
        ("assignments", "Go", "x := 1\nvar y int\nif x == 1 {\n", 2),
        ("assignments", "JavaScript", "let x\nf(a => b)\nx >>= 1\n", 2),
        ("logic_lines", "Python", "import a\n@b\ndef f(x):\n    '''d'''\n    y = x\n    y += g(x)\n    if y: z()", 2),
        ("logic_lines", "Java", "package a;\nclass B {\n  private int x;\n  int getX() {\n    return x;\n  }\n}\n", 2),
        ("logic_lines", "C", "#include <a.h>\nint f(int);\nint x = 1;\nint y = x + f(x);\nreturn 1;\n", 1),
        ("logic_lines", "JSON", '{"a": [1]}\n', 0),
        ("long_string_lines", "Python", f"x = '{'a ' * 21}'\ny = '{'a ' * 20}'\n'''{'a ' * 21}'''\n", 1),
        ("max_depth", "JSON", '{"a": [{"(": 1}]}', 3),
        ("max_depth", "C", "#define A (((\nint f() { return (1); }\n", 2),
    ],
)  # fmt: skip
def test_counts(name: str, lang: str, text: str, wanted: int) -> None:
    assert counts(text, lang, name) == (wanted,)


@pytest.mark.parametrize(
    ("body", "trivial"),
    [
        ("pass", 1),
        ("...", 1),
        ("return", 1),
        ("return None  # why", 1),
        ("return -1.5", 1),
        ("return 'a b'", 1),
        ("return []", 1),
        ("'''only\n    a docstring'''", 1),
        ("r'''d'''\n    pass", 1),
        ("return f'{x}'", 0),
        ("return x", 0),
        ("return 'a' 'b'", 0),
        ("return f()", 0),
        ("raise NotImplementedError", 0),
        ("x = 1\n    return 1", 0),
        ("@a\n    def g():\n        pass\n    return g", 1),  # the inner one
        ("if x:\n        pass", 0),
    ],
)
def test_trivial_functions(body: str, trivial: int) -> None:
    for text in (
        f"def f(a=(1, 2), b={{}}) -> A[int]:\n    {body}\n",
        f"def f(\n    x,\n):\n    {body}",
        f"def f():  # c\n\n    # c\n    {body}\n\nx = 1\n",
    ):
        assert counts(text, "Python", "trivial_functions") == (trivial,), text


def test_trivial_functions_on_one_line_and_behind_a_broken_bracket() -> None:
    assert counts(
        "def f(): return x\ndef g(a: int = 1): ...\ndef h() -> B: pass\n", "Python", "trivial_functions"
    ) == (2,)
    assert counts("x = (\ndef f():\n    pass\n", "Python", "functions", "trivial_functions") == (1, 1)


MODULES = (
    "argparse",
    "dataclasses",
    "decimal",
    "email.message",
    "http.client",
    "logging",
    "mailbox",
    "numbers",
)
MODULES += ("typing", "unittest.mock", "wsgiref.handlers", "xml.sax.handler", "zipfile", "_pyio", "plistlib")


def does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    value = statement.value if isinstance(statement, ast.Expr | ast.Return) else statement
    if isinstance(value, ast.UnaryOp):
        value = value.operand
    if isinstance(value, ast.Dict | ast.List | ast.Tuple):
        return not ast.unparse(value)[1:-1]
    return value is None or isinstance(value, ast.Constant)


def test_python_functions_equal_the_parser() -> None:
    total = 0
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text("utf-8")
        functions = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        trivial = sum(all(map(does_nothing, function.body)) for function in functions)
        wanted = (len(functions), len(functions), trivial)
        assert counts(source, "Python", "def_lines", "functions", "trivial_functions") == wanted, name
        total += trivial
    assert total > 50
