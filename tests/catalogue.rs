//! The book, held to the code: the step catalogue is made of the step sources, excerpts are copies, and what is linked or named is there.
//!
//! `UPDATE_EXPECT=1 cargo test -p tests --test catalogue` renews the catalogue. Nothing else in the book is generated.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

#[path = "catalogue/sources.rs"]
mod sources;

use sources::{Module, modules, parameters};

const CATALOGUE: &str = "docs/src/reference/steps.md";
const RENEW: &str = "UPDATE_EXPECT=1 cargo test -p tests --test catalogue";
const PREAMBLE: &str = "\
Every phrase that a feature can use, in alphabetical order of the modules that define them.
A phrase means the same after `Given`, `When`, `Then`, `And` and `But`.

In a phrase, `(s)` is optional and `is/are` is a choice.
What stands in braces is a parameter, explained [at the end](#parameters).
A phrase that ends in a colon takes the table or the doc string below it.
";
/// Parameter types that cucumber brings along.
const FOREIGN_PARAMETERS: &[(&str, &str)] = &[
    ("int", "A whole number, in digits."),
    (
        "string",
        "A text in double or single quotes, which do not belong to it.",
    ),
];

/// Where paths in the book begin.
const OUR_FOLDERS: &[&str] = &[
    "src/",
    "steps/",
    "features/",
    "fixtures/",
    "tests/",
    "docs/",
];
/// What a reader of the tutorial makes.
const TUTORIAL_FEATURE: &str = "features/first.feature";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_step_says_what_it_means_and_means_it_after_each_keyword() {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for step in modules().into_iter().flat_map(|module| module.steps) {
        let name = &step.name;
        assert!(!step.doc.is_empty(), "the step {name} has no doc comment");
        let [expression, ..] = step.expressions.as_slice() else {
            panic!("the step {name} has no expression");
        };
        assert_eq!(
            step.expressions,
            vec![expression.clone(); 3],
            "the step {name} is not the same phrase after given, when and then"
        );
        let other = owners.insert(expression.clone(), name.clone());
        assert_eq!(other, None, "{expression:?} is defined twice");
    }
    assert!(owners.len() > 40, "the walk finds our steps");
}

#[test]
fn the_catalogue_is_what_the_step_sources_say() {
    let expected = render(&modules(), &parameters());
    let path = root().join(CATALOGUE);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &expected).expect("the catalogue can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected
        .lines()
        .zip(found.lines().chain(std::iter::repeat("")))
        .find(|(expected, found)| expected != found);
    assert!(
        expected == found,
        "{CATALOGUE} is not what the step sources say; renew it with: {RENEW}\nthe first difference: {differs:#?}"
    );
}

#[test]
fn every_link_of_the_book_leads_somewhere_and_every_page_is_in_the_summary() {
    let summary = root().join("docs/src/SUMMARY.md");
    let listed: Vec<PathBuf> = links(&read(&summary))
        .map(|link| summary.with_file_name("").join(link))
        .collect();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.with_file_name("").join(file)
            };
            let page = page.display();
            assert!(
                target.exists(),
                "{page} links to {file}, which is not there"
            );
            assert!(
                anchor.is_empty() || anchors(&read(&target)).any(|known| known == anchor),
                "{page} links to {link}, which has no such heading"
            );
        }
        let is_chapter = page.starts_with(summary.with_file_name("")) && page != summary;
        assert!(
            !is_chapter || listed.contains(&page),
            "{} is not in SUMMARY.md",
            page.display()
        );
    }
}

/// A fence below `<!-- from: path -->` is a copy; `// ..` or `# ..` on a line of its own stands for something left out.
#[test]
fn every_excerpt_of_the_book_is_a_copy_of_its_source() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for excerpt in text.split("<!-- from: ").skip(1) {
            let (source, rest) = excerpt.split_once(" -->").expect("the comment ends");
            let code = rest.split("```").nth(1).expect("a fence follows");
            let code = code.split_once('\n').map_or("", |(_, code)| code);
            let source_lines = trimmed(&read(&root().join(source)));
            for part in code.replace("# ..\n", "// ..\n").split("// ..\n") {
                let part = trimmed(part);
                assert!(
                    source_lines.contains(&part),
                    "{} shows what is not in {source}:\n{part}",
                    page.display()
                );
            }
            count += 1;
        }
    }
    assert!(count > 5, "the walk finds our excerpts");
}

/// Paths in code font lead somewhere, and a test that is named after a path is in that file.
#[test]
fn every_file_and_test_that_the_book_names_is_there() {
    let mut tests = 0;
    for page in pages() {
        for line in prose(&read(&page)) {
            let mut file = None;
            for code in line.split('`').skip(1).step_by(2) {
                let is_path = OUR_FOLDERS.iter().any(|folder| code.starts_with(folder));
                if is_path && code != TUTORIAL_FEATURE && !code.contains('*') {
                    let path = root().join(code);
                    assert!(path.exists(), "{} names {code}", page.display());
                    file = path.is_file().then_some(path);
                } else if let Some(file) = file.as_ref().filter(|_| is_test_name(code)) {
                    let is_there = read(file).contains(&format!("fn {code}("));
                    assert!(is_there, "{} has no {code}", file.display());
                    tests += 1;
                }
            }
        }
    }
    assert!(tests > 10, "the walk finds the tests of the invariants");
}

fn is_test_name(code: &str) -> bool {
    code.matches('_').count() > 2 && code.chars().all(|c| c == '_' || c.is_ascii_lowercase())
}

/// The lines without indentation, so that an excerpt may be moved to the margin; empty ones are left out.
fn trimmed(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The README and every page of the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    collect(&root().join("docs/src"), "md", &mut pages);
    assert!(pages.len() > 5, "the walk finds our pages");
    pages
}

/// The lines that are in no fence.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_fence = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_fence ^= is_fence;
        !in_fence && !is_fence
    })
}

/// The targets of links within the repository.
fn links(text: &str) -> impl Iterator<Item = String> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.to_owned())
        .filter(|link| !link.contains("://"))
}

/// What headings are called in links.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

fn render(modules: &[Module], parameters: &[(String, String)]) -> String {
    let mut page = format!(
        "<!-- Generated from the step sources; renew it with: {RENEW} -->\n\n# Steps\n\n{PREAMBLE}"
    );
    for module in modules {
        let summary = capitalised(&module.summary);
        write!(page, "\n## {}\n\n{summary}\n\n", module.title).expect("a String takes any text");
        page.push_str("| phrase | meaning |\n| --- | --- |\n");
        for step in &module.steps {
            let phrase = step.expressions.first().map_or("", String::as_str);
            writeln!(page, "| `{}` | {} |", cell(phrase), cell(&step.doc))
                .expect("a String takes any text");
        }
    }
    page.push_str("\n## Parameters\n\n| parameter | meaning |\n| --- | --- |\n");
    let foreign = FOREIGN_PARAMETERS.iter().map(|(name, text)| (*name, *text));
    let ours = parameters
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    for (name, text) in ours.chain(foreign) {
        writeln!(page, "| `{{{name}}}` | {} |", cell(text)).expect("a String takes any text");
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}
