//! Selection: which features are read, and which of their scenarios are meant.

use std::path::{Path, PathBuf};

use cucumber::tag::Ext as _;
use gherkin::{Feature, Rule, Scenario, tagexpr::TagOperation};
use globwalk::GlobWalkerBuilder;
use regex::Regex;
use thiserror::Error;

/// The ending of a feature file.
const ENDING: &str = ".feature";

/// Why features cannot be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// A path that leads nowhere.
    #[error(
        "there is no feature file or folder {input}; looked in {}",
        list(looked_in)
    )]
    Missing {
        /// The path as it was given.
        input: String,
        /// The folders that it was looked for in.
        looked_in: Vec<PathBuf>,
    },
    /// A pattern that cannot be read, or a folder.
    #[error("cannot look for features with {pattern:?}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// The reason.
        #[source]
        source: globwalk::GlobError,
    },
}

fn list(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    folders.join(", ")
}

/// Which scenarios are meant. What is empty does not narrow.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Feature files, folders or globs, each with a line (`a.feature:12`) or without.
    pub inputs: Vec<String>,
    /// Parts of scenarios' full names; one of them must be there.
    pub filters: Vec<String>,
    /// Parts of scenarios' full names; none of them may be there.
    pub skips: Vec<String>,
    /// Whether filters and skips must be a whole name instead of a part of it.
    pub exact: bool,
    /// A tag expression.
    pub tags: Option<TagOperation>,
    /// A regular expression for scenarios' names.
    pub name: Option<Regex>,
}

/// One feature file to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeatureFile {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// How it is shown, and called in results: relative to the folder that holds the features.
    pub(crate) name: PathBuf,
    /// The lines that were asked for; empty for all.
    pub(crate) lines: Vec<usize>,
}

impl Selection {
    /// Whether `text` of the command line means features rather than a part of a name.
    pub fn is_input(text: &str, root: &Path) -> bool {
        let (path, _) = split_line(text);
        path.ends_with(ENDING) || path.contains('*') || resolve(path, root).is_some()
    }

    /// Whether anything narrows the suite down.
    pub fn is_everything(&self) -> bool {
        self.inputs.is_empty()
            && self.filters.is_empty()
            && self.skips.is_empty()
            && self.tags.is_none()
            && self.name.is_none()
    }

    /// The feature files below `root`, or those of the inputs, in order of their names and each once.
    pub(crate) fn files(&self, root: &Path) -> Result<Vec<FeatureFile>, SelectionError> {
        let mut files: Vec<FeatureFile> = Vec::new();
        let everything = [root.to_string_lossy().into_owned()];
        let inputs = if self.inputs.is_empty() {
            &everything[..]
        } else {
            &self.inputs[..]
        };
        for input in inputs {
            let (path, line) = split_line(input);
            for file in find(path, root)? {
                match files.iter_mut().find(|known| known.file == file) {
                    // All of a file is more than a line of it.
                    Some(known) if known.lines.is_empty() || line.is_none() => known.lines.clear(),
                    Some(known) => known.lines.extend(line),
                    None => {
                        let name = shown(&file, root);
                        files.push(FeatureFile {
                            file,
                            name,
                            lines: line.into_iter().collect(),
                        });
                    }
                }
            }
        }
        files.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(files)
    }

    /// Whether a scenario of a feature, which is called `full_name` in full, is meant.
    pub(crate) fn wants(
        &self,
        feature: &Feature,
        rule: Option<&Rule>,
        scenario: &Scenario,
        full_name: &str,
    ) -> bool {
        let named = |part: &String| {
            if self.exact {
                full_name == part
            } else {
                full_name.contains(part.as_str())
            }
        };
        let tags = || {
            let rule = rule.into_iter().flat_map(|rule| &rule.tags);
            feature.tags.iter().chain(rule).chain(&scenario.tags)
        };
        (self.filters.is_empty() || self.filters.iter().any(named))
            && !self.skips.iter().any(named)
            && self
                .name
                .as_ref()
                .is_none_or(|name| name.is_match(&scenario.name))
            && self
                .tags
                .as_ref()
                .is_none_or(|expression| expression.eval(tags()))
    }
}

/// `a.feature:12` as path and line.
fn split_line(input: &str) -> (&str, Option<usize>) {
    match input.rsplit_once(':') {
        Some((path, line)) if path.ends_with(ENDING) => match line.parse() {
            Ok(line) => (path, Some(line)),
            Err(_) => (input, None),
        },
        _ => (input, None),
    }
}

/// The folders in which a relative path is looked for: people call from the workspace, cargo from the package.
fn bases(root: &Path) -> Vec<PathBuf> {
    let here = std::env::current_dir().ok();
    let above = root.parent().map(Path::to_owned);
    here.into_iter()
        .chain(above)
        .chain([root.to_owned()])
        .collect()
}

fn resolve(path: &str, root: &Path) -> Option<PathBuf> {
    bases(root)
        .into_iter()
        .find_map(|base| base.join(path).canonicalize().ok())
}

fn find(path: &str, root: &Path) -> Result<Vec<PathBuf>, SelectionError> {
    if path.contains('*') {
        for base in bases(root) {
            let found = walk(&base, path)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    match resolve(path, root) {
        Some(found) if found.is_dir() => walk(&found, "*.feature"),
        Some(found) => Ok(vec![found]),
        None => Err(SelectionError::Missing {
            input: path.to_owned(),
            looked_in: bases(root),
        }),
    }
}

fn walk(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, SelectionError> {
    // A pattern is relative to its folder here; an absolute one brings its own.
    let (base, pattern) = match pattern.strip_prefix('/') {
        Some(rest) => (Path::new("/"), rest),
        None => (base, pattern),
    };
    let walker = GlobWalkerBuilder::new(base, pattern).build();
    let walker = walker.map_err(|source| SelectionError::Glob {
        pattern: pattern.to_owned(),
        source,
    })?;
    let files = walker
        .filter_map(Result::ok)
        .map(globwalk::DirEntry::into_path);
    Ok(files
        .filter(|path| path.to_string_lossy().ends_with(ENDING))
        .collect())
}

/// How a feature file is called: relative to the folder above the features where it is below that.
fn shown(file: &Path, root: &Path) -> PathBuf {
    let above = root
        .canonicalize()
        .ok()
        .and_then(|root| root.parent().map(Path::to_owned));
    let relative = above.and_then(|above| file.strip_prefix(above).map(Path::to_owned).ok());
    relative.unwrap_or_else(|| file.to_owned())
}
