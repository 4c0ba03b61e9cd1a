"""What the first word of a line says about the line: one table of words a language.

A keyword may have a suffix that must follow it, blanks between them ignored: "console.log", "using(",
"println!", "self.assert". The longest suffix that fits decides. A MODIFIER says nothing; the word after it does.
"""

from __future__ import annotations

NONE, DEF, PASS, IMPORT, PRINT, ASSERT, RETURN = range(7)
"""Roles that are counted one by one, in the order of the columns of `LexicalStats`."""
CLASS, CONTROL, VARIABLE, MODIFIER, ELLIPSIS, DECORATOR, DIRECTIVE, CONTINUED = range(7, 15)

Keywords = dict[int, str]

_C_CONTROL = "if else for while do switch case default break continue goto throw try catch"

PYTHON: Keywords = {
    DEF: "def",
    PASS: "pass",
    IMPORT: "import from",
    PRINT: "print",
    ASSERT: "assert self.assert self.fail",
    RETURN: "return",
    CLASS: "class",
    CONTROL: "if elif else for while try except finally with break continue raise yield await del"
    " not and or in is lambda",
    VARIABLE: "global nonlocal",
    MODIFIER: "async cdef cpdef",
}
C: Keywords = {
    IMPORT: "include import",
    PRINT: "printf puts putchar perror fprintf(stderr fprintf(stdout",
    ASSERT: "assert static_assert _Static_assert",
    RETURN: "return",
    CLASS: "struct union enum typedef",
    CONTROL: _C_CONTROL + " sizeof",
    MODIFIER: "static extern inline const register volatile",
}
CPP: Keywords = C | {
    IMPORT: "include import using",
    PRINT: "printf puts std::cout cout std::cerr cerr std::print std::println qDebug fprintf(stderr fprintf(stdout",
    CLASS: "class struct union enum typedef namespace template concept public private protected friend",
    CONTROL: _C_CONTROL + " co_return co_await co_yield new delete sizeof",
    MODIFIER: "static extern inline const constexpr consteval virtual explicit volatile mutable",
}
OBJECTIVE_C: Keywords = CPP | {PRINT: "printf puts NSLog"}
_JVM_MODIFIERS = (
    "public private protected static final abstract synchronized native transient volatile default"
)
JAVA: Keywords = {
    IMPORT: "import",
    PRINT: "System.out.print System.err.print",
    ASSERT: "assert",
    RETURN: "return",
    CLASS: "class interface enum record package module",
    CONTROL: "if else for while do switch case break continue throw try catch finally new yield default: this super"
    " synchronized(",
    VARIABLE: "var",
    MODIFIER: _JVM_MODIFIERS + " strictfp sealed",
}
GROOVY: Keywords = JAVA | {PRINT: "println print System.out.print", VARIABLE: "var def"}
CSHARP: Keywords = {
    IMPORT: "using",
    PRINT: "Console.Write Debug.Write Debug.Log Trace.Write",
    ASSERT: "Assert",
    RETURN: "return",
    CLASS: "class interface struct enum record namespace delegate event",
    CONTROL: "if else for foreach while do switch case default break continue goto throw try catch finally lock"
    " using( fixed unchecked checked yield new await base this",
    VARIABLE: "var",
    MODIFIER: "public private protected internal static readonly const abstract sealed virtual override async"
    " partial extern unsafe volatile required",
}
JAVASCRIPT: Keywords = {
    DEF: "function",
    IMPORT: "import export* export{",
    PRINT: "console.log console.info console.debug console.warn console.error document.write",
    ASSERT: "assert console.assert",
    RETURN: "return",
    CLASS: "class",
    CONTROL: "if else for while do switch case default break continue throw try catch finally with new delete"
    " typeof void in of instanceof yield await debugger super",
    VARIABLE: "var let const",
    MODIFIER: "export async static get set default",
}
TYPESCRIPT: Keywords = JAVASCRIPT | {
    CLASS: "class interface enum type namespace module",
    MODIFIER: JAVASCRIPT[MODIFIER] + " public private protected readonly abstract declare override",
}
GO: Keywords = {
    DEF: "func",
    IMPORT: "import",
    PRINT: "fmt.Print log.Print println print",
    ASSERT: "assert require.",
    RETURN: "return",
    CLASS: "type package",
    CONTROL: "if else for switch case default select go defer break continue goto fallthrough",
    VARIABLE: "var const",
}
RUST: Keywords = {
    DEF: "fn",
    IMPORT: "use extern",
    PRINT: "println! print! eprintln! eprint! dbg!",
    ASSERT: "assert! assert_eq! assert_ne! debug_assert! debug_assert_eq! debug_assert_ne!",
    RETURN: "return",
    CLASS: "struct enum union trait impl mod type where",
    CONTROL: "if else for while loop match break continue await panic!",
    VARIABLE: "let const static",
    MODIFIER: "pub async unsafe default crate",
}
KOTLIN: Keywords = {
    DEF: "fun constructor init",
    IMPORT: "import",
    PRINT: "println print",
    ASSERT: "assert",
    RETURN: "return",
    CLASS: "class interface object package typealias companion",
    CONTROL: "if else for while do when break continue throw try catch finally",
    VARIABLE: "val var",
    MODIFIER: "public private protected internal open override abstract final data sealed inline suspend enum"
    " operator infix lateinit const tailrec external annotation inner actual expect",
}
SCALA: Keywords = {
    DEF: "def",
    IMPORT: "import export",
    PRINT: "println print",
    ASSERT: "assert",
    RETURN: "return",
    CLASS: "class object trait package type enum given extension case.class",
    CONTROL: "if else for while do match case throw try catch finally yield then",
    VARIABLE: "val var",
    MODIFIER: "private protected override final implicit lazy abstract sealed inline",
}
SWIFT: Keywords = {
    DEF: "func init deinit subscript",
    IMPORT: "import",
    PRINT: "print debugPrint NSLog",
    ASSERT: "assert precondition XCTAssert",
    RETURN: "return",
    CLASS: "class struct enum protocol extension typealias associatedtype actor",
    CONTROL: "if else for while repeat switch case default guard break continue throw do catch defer try await",
    VARIABLE: "let var",
    MODIFIER: "public private fileprivate internal open static override final mutating lazy weak unowned"
    " required convenience indirect nonisolated",
}
DART: Keywords = {
    IMPORT: "import export part library",
    PRINT: "print debugPrint",
    ASSERT: "assert expect",
    RETURN: "return",
    CLASS: "class enum mixin extension typedef",
    CONTROL: "if else for while do switch case default break continue throw rethrow try catch finally on await"
    " yield new super",
    VARIABLE: "var final const late",
    MODIFIER: "static abstract external covariant factory get set",
}
PHP: Keywords = {
    DEF: "function fn",
    IMPORT: "use require require_once include include_once",
    PRINT: "echo print printf var_dump print_r",
    ASSERT: "assert $this->assert self::assert",
    RETURN: "return",
    CLASS: "class interface trait enum namespace",
    CONTROL: "if else elseif for foreach while do switch case default break continue goto throw try catch"
    " finally endif endforeach endfor endwhile match yield new",
    VARIABLE: "const global",
    MODIFIER: "public private protected static abstract final readonly var",
}
RUBY: Keywords = {
    DEF: "def",
    IMPORT: "require require_relative include extend load",
    PRINT: "puts print p pp printf",
    ASSERT: "assert refute expect",
    RETURN: "return",
    CLASS: "class module attr_reader attr_writer attr_accessor alias private public protected end",
    CONTROL: "if elsif else unless case when for while until begin rescue ensure retry raise yield break next"
    " redo then do and or not in loop",
}
SHELL: Keywords = {
    DEF: "function",
    IMPORT: "source .",
    PRINT: "echo printf",
    RETURN: "return",
    CONTROL: "if then elif else fi for while until do done case esac select in break continue exit trap",
    VARIABLE: "export local declare readonly typeset",
}
SQL: Keywords = {
    DEF: "function procedure trigger",
    PRINT: "print",
    RETURN: "return returns",
    CLASS: "table view index schema database type",
    CONTROL: "if else elsif while loop for case when begin exception raise",
    VARIABLE: "declare set",
    MODIFIER: "create or replace alter temporary temp unique",
}
LUA: Keywords = {
    DEF: "function",
    IMPORT: "require",
    PRINT: "print io.write",
    ASSERT: "assert",
    RETURN: "return",
    CONTROL: "if elseif else for while repeat until break goto do",
    MODIFIER: "local",
}
PERL: Keywords = {
    DEF: "sub",
    IMPORT: "use require no",
    PRINT: "print say printf",
    ASSERT: "ok is is_deeply",
    RETURN: "return",
    CLASS: "package",
    CONTROL: "if elsif else unless for foreach while until do last next redo die eval split grep map join and or not",
    VARIABLE: "my our local",
}
R: Keywords = {
    IMPORT: "library require source",
    PRINT: "print cat message",
    ASSERT: "stopifnot expect_equal expect_true",
    RETURN: "return",
    CONTROL: "if else for while repeat break next",
}
JULIA: Keywords = {
    DEF: "function macro",
    IMPORT: "using import include export",
    PRINT: "println print @show @printf",
    ASSERT: "@assert @test",
    RETURN: "return",
    CLASS: "struct mutable module abstract primitive",
    CONTROL: "if elseif else for while try catch finally break continue begin let throw end",
    VARIABLE: "const global local",
}
ELIXIR: Keywords = {
    DEF: "def defp defmacro defmacrop",
    IMPORT: "import alias require use",
    PRINT: "IO.puts IO.inspect",
    ASSERT: "assert refute",
    CLASS: "defmodule defstruct defprotocol defimpl",
    CONTROL: "if else case cond with for do unless try rescue raise when receive fn end",
}
HASKELL: Keywords = {
    IMPORT: "import",
    PRINT: "putStrLn print putStr",
    RETURN: "return pure",
    CLASS: "module data newtype type class instance deriving infixl infixr infix",
    CONTROL: "if then else case of let in where do",
}
BLOCKS: Keywords = {  # Pascal, Ada, Fortran, VHDL, MATLAB: words instead of braces
    DEF: "function procedure subroutine",
    IMPORT: "uses use with include import library",
    PRINT: "writeln write print disp fprintf put_line report",
    ASSERT: "assert",
    RETURN: "return",
    CLASS: "type unit program module package entity architecture class interface",
    CONTROL: "if then elsif elseif else end case when for while do loop repeat until begin switch try catch",
    VARIABLE: "var const integer real character logical signal variable constant",
    MODIFIER: "pure recursive elemental",
}
