"""The documentation as a folder of pages, from the Markdown that is read in the repository.

    python scripts/website.py -o site

Every page is one HTML file with the stylesheet of reports; nothing is loaded from elsewhere and no
script runs. Links between pages stay links; a file of the repository that a page names is copied.
"""

from __future__ import annotations

import argparse
import html
import posixpath
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tokenfleet.report.page.render import policy, stylesheet

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "docs/*.md",
    "examples/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
HOME, INDEX = "README.md", "docs/README.md"
STYLE = """
.doc{max-width:none;display:grid;grid-template-columns:15rem minmax(0,62rem);gap:0 3rem;
padding:1.2rem 1.5rem 4rem}
.doc nav{font-size:.875rem;position:sticky;top:1rem;align-self:start;max-height:96vh;overflow:auto}
.doc main{min-width:0;max-width:none;margin:0;padding:0}
.doc article>p,.doc article>ul{max-width:48rem}
.doc nav b{display:block;margin:1rem 0 .2rem}
.doc nav a{display:block;padding:.12rem 0;text-decoration:none}
.doc nav a[aria-current]{font-weight:660;color:var(--ink)}
.doc a{color:var(--accent)}
.doc article>*{margin-top:0;margin-bottom:.9rem}
.doc article h1{font-size:2rem;max-width:none}
.doc article h2{margin-top:2.2rem}
.doc ul,.doc ol{padding-left:1.3rem}
.doc code{font:.875em ui-monospace,"Liberation Mono",Menlo,Consolas,monospace;
overflow-wrap:anywhere}
.doc pre{background:var(--faint);border:1px solid var(--line);padding:.8rem 1rem;overflow-x:auto;
line-height:1.35}
.doc pre code{font-size:.8125rem;overflow-wrap:normal}
.doc .table{overflow-x:auto}
.doc td,.doc th{overflow-wrap:normal}
@media (max-width:60rem){.doc{grid-template-columns:minmax(0,1fr);padding:1rem}
.doc nav{position:static;max-height:none;order:2;margin-top:2rem}}
""".strip()


class Site:
    """The pages of the repository, by their path in it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        found = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
        self.pages = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in found}
        self.parser = MarkdownIt("commonmark", {"html": False}).enable("table")
        self.titles = {name: title_of(text) for name, text in self.pages.items()}
        self.groups = groups_of(self.pages[INDEX])
        self.copied: set[str] = set()

    def write(self) -> None:
        """Every page, and every file that they name."""
        for name in self.pages:
            self._put(address(name), self.page(name).encode())

    def page(self, name: str) -> str:
        """One page as HTML."""
        tokens = self.parser.parse(self.pages[name])
        self._prepare(tokens, name)
        body = self.parser.renderer.render(tokens, self.parser.options, {})
        body = body.replace("<table>", '<div class="table"><table>')
        body = body.replace("</table>", "</table></div>")
        style = f"{stylesheet()}\n{STYLE}"
        title = html.escape(self.titles[name])
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy(style))}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title} · tokenfleet</title>\n<style>{style}</style>\n</head>\n<body>\n"
            f'<div class="doc">\n<nav aria-label="Pages">{self._menu(name)}</nav>\n'
            f"<main><article>\n{body}</article></main>\n</div>\n</body>\n</html>\n"
        )

    def _prepare(self, tokens: list[Token], name: str) -> None:
        """Headings get the names that links use; links lead to pages and copied files."""
        seen: Counter[str] = Counter()
        for at, token in enumerate(tokens):
            if token.type == "heading_open":
                slug = anchor(tokens[at + 1].content)
                token.attrSet("id", slug if not seen[slug] else f"{slug}-{seen[slug]}")
                seen[slug] += 1
            for child in token.children or ():
                if child.type == "link_open":
                    child.attrSet("href", self._link(str(child.attrGet("href")), name))

    def _link(self, href: str, name: str) -> str:
        """Where a link of a page leads on the site."""
        if re.match(r"[a-z]+:", href) or href.startswith("#"):
            return href
        target, _, part = href.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if path not in self.pages:
            self._copy(path)
        to = address(path) if path in self.pages else path
        relative = posixpath.relpath(to, posixpath.dirname(address(name)) or ".")
        return f"{relative}#{part}" if part else relative

    def _copy(self, path: str) -> None:
        if path in self.copied:
            return
        self.copied.add(path)
        source = ROOT / path
        if not source.is_file():
            raise SystemExit(f"{path}: a page links to it, and it is no file")
        self._put(path, source.read_bytes())

    def _put(self, path: str, content: bytes) -> None:
        file = self.out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def _menu(self, name: str) -> str:
        rows = [self._entry(HOME, "tokenfleet", name), self._entry(INDEX, "All pages", name)]
        for title, pages in self.groups:
            rows.append(f"<b>{html.escape(title)}</b>")
            rows += [self._entry(page, self.titles[page], name) for page in pages]
        return "\n".join(rows)

    def _entry(self, page: str, title: str, name: str) -> str:
        to = posixpath.relpath(address(page), posixpath.dirname(address(name)) or ".")
        here = ' aria-current="page"' if page == name else ""
        return f'<a href="{to}"{here}>{html.escape(title)}</a>'


def address(name: str) -> str:
    """Where a page is on the site: a folder's README is its index."""
    path = Path(name)
    stem = "index" if path.stem == "README" else path.stem
    return str(path.with_name(f"{stem}.html"))


def title_of(text: str) -> str:
    """The first heading."""
    found = re.search(r"^# (.*)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else "tokenfleet"


def groups_of(index: str) -> list[tuple[str, list[str]]]:
    """Pages of the index by the reader that they are for; a page stands where it is named first."""
    seen: set[str] = set()
    found = []
    for part in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        names = [f"docs/{page}" for page in re.findall(r"\]\((\w+\.md)", part)]
        fresh = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(fresh)
        found.append((part.splitlines()[0], fresh))
    return found


def anchor(heading: str) -> str:
    """The name that links give a heading: `3. Buy, rent?` is `3-buy-rent`."""
    words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return words.replace(" ", "-")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="The documentation as a folder of HTML pages.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "site")
    out = parser.parse_args().output
    if out.exists() and any(out.iterdir()):
        if not (out / "docs" / "index.html").is_file():
            print(f"{out} has other files: give a new folder", file=sys.stderr)
            return 2
        shutil.rmtree(out)
    site = Site(out)
    site.write()
    print(f"wrote {len(site.pages)} pages; open {out / 'docs' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
