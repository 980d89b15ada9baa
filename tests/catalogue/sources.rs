//! Sources: what the step sources say of phrases and of parameter types, read as text.

use std::path::PathBuf;

use super::{collect, read, root};

/// A function behind a phrase.
pub(super) struct StepFunction {
    pub(super) name: String,
    pub(super) expressions: Vec<String>,
    pub(super) doc: String,
}

/// A source file with steps in it.
pub(super) struct Module {
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) steps: Vec<StepFunction>,
}

/// The sources of the steps, by path.
fn step_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join("steps/src"), "rs", &mut files);
    files.sort();
    files
}

/// The step modules, by path.
pub(super) fn modules() -> Vec<Module> {
    step_files()
        .iter()
        .map(|file| module(&read(file)))
        .filter(|module| !module.steps.is_empty())
        .collect()
}

fn module(text: &str) -> Module {
    let first = text.lines().next().unwrap_or_default();
    let (title, summary) = first
        .trim_start_matches("//! ")
        .split_once(": ")
        .unwrap_or((first, ""));
    let mut steps = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    let mut expressions = Vec::new();
    let text = with_whole_attributes(text);
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("///") {
            doc.push(comment.trim());
        } else if let Some(expression) = expression(line) {
            expressions.push(expression);
        } else if !line.starts_with("#[") {
            if !expressions.is_empty() {
                steps.push(StepFunction {
                    name: function_name(line),
                    expressions: std::mem::take(&mut expressions),
                    doc: doc.join(" "),
                });
            }
            doc.clear();
        }
    }
    Module {
        title: title.to_owned(),
        summary: summary.to_owned(),
        steps,
    }
}

/// The text with each attribute in one line, also those that are formatted in several.
fn with_whole_attributes(text: &str) -> String {
    let mut whole = String::new();
    let mut open = false;
    for line in text.lines() {
        whole.push_str(if open { line.trim() } else { line });
        open = (open || line.starts_with("#[")) && !line.ends_with(")]");
        if !open {
            whole.push('\n');
        }
    }
    whole
}

/// The expression of a step attribute; steps are top-level functions, so it begins at the margin.
fn expression(line: &str) -> Option<String> {
    let is_step = ["#[given(", "#[when(", "#[then("]
        .iter()
        .any(|attribute| line.starts_with(attribute));
    is_step.then(|| {
        line.split_once("expr = \"")
            .and_then(|(_, rest)| rest.strip_suffix("\")]"))
            .unwrap_or_else(|| panic!("{line} is not a literal expression"))
            .replace("\\\"", "\"")
    })
}

fn function_name(line: &str) -> String {
    let (_, rest) = line
        .split_once("fn ")
        .unwrap_or_else(|| panic!("a step attribute is followed by {line:?}, not by a function"));
    rest.split('(').next().unwrap_or_default().to_owned()
}

/// Our parameter types, with what they mean: `name`, text.
pub(super) fn parameters() -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for file in step_files() {
        let text = read(&file);
        let with_roles = file.ends_with("parameters.rs");
        parameters.extend(parameters_of(&text, with_roles));
    }
    parameters.sort();
    assert_eq!(parameters.len(), 5, "the parameter types are found");
    parameters
}

fn parameters_of(text: &str, with_roles: bool) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    let mut name = None;
    for line in text.lines() {
        let entry = line.trim().trim_start_matches("#[param(");
        let item = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub ");
        let is_enum = item.starts_with("enum");
        if let Some(comment) = line.strip_prefix("/// ") {
            doc.push(comment);
        } else if let Some(rest) = entry.strip_prefix("name = \"") {
            name = rest.split('"').next();
        } else if is_enum || item.starts_with("struct") {
            if let Some(name) = name.take() {
                let mut text = doc.join(" ");
                if is_enum && with_roles {
                    text.push_str(&roles());
                }
                parameters.push((name.to_owned(), text));
            }
            doc.clear();
        } else if !line.starts_with("#[") && !line.starts_with(' ') && !line.starts_with(')') {
            doc.clear();
        }
    }
    parameters
}

/// What each fixed text of an enum stands for, by the doc comments of its variants.
fn roles() -> String {
    let text = read(&root().join("steps/src/parameters.rs"));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let meaning = |variant: &str| {
        let at = lines
            .iter()
            .position(|line| line.strip_suffix(',') == Some(variant))?;
        lines[at - 1].strip_prefix("/// ")
    };
    lines
        .iter()
        .filter_map(|line| {
            let (text, rest) = line.strip_prefix('"')?.split_once("\" => Ok(Self::")?;
            let meaning = meaning(rest.strip_suffix("),")?)?;
            Some(format!("<br>`{text}`: {meaning}"))
        })
        .collect()
}
