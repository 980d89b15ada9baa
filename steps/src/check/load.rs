//! Loading: from feature files to the scenarios that are meant, outlines expanded.

use std::{cell::OnceCell, fs, path::PathBuf};

use cucumber::feature::Ext as _;
use gherkin::{EnvError, Feature, GherkinEnv, ParseFileError, Scenario};

use super::{
    Selection,
    problem::{FeatureText, Problem, Problems},
    selection::FeatureFile,
};

/// A feature with the scenarios that are meant, and its text for messages.
pub(crate) struct LoadedFeature {
    pub(crate) feature: Feature,
    file: PathBuf,
    name: PathBuf,
    text: OnceCell<FeatureText>,
}

impl LoadedFeature {
    /// The text, which is read again only when something is wrong.
    pub(crate) fn text(&self) -> &FeatureText {
        self.text.get_or_init(|| {
            FeatureText::new(
                &self.name,
                fs::read_to_string(&self.file).unwrap_or_default(),
            )
        })
    }
}

/// What a scenario is called in lists, filters and reports: unlike any other of the suite.
pub(crate) fn full_name(feature: &Feature, scenario: &Scenario) -> String {
    let path = feature
        .path
        .as_deref()
        .unwrap_or_else(|| feature.name.as_ref());
    format!(
        "{}:{}: {}",
        path.display(),
        scenario.position.line,
        scenario.name
    )
}

/// Reads a feature and keeps the scenarios that are meant; `None` where it cannot be read or none is.
pub(crate) fn load(
    file: &FeatureFile,
    selection: &Selection,
    problems: &mut Problems,
) -> Option<LoadedFeature> {
    let text = || {
        FeatureText::new(
            &file.name,
            fs::read_to_string(&file.file).unwrap_or_default(),
        )
    };
    let mut feature = match Feature::parse_path(&file.file, GherkinEnv::default()) {
        Ok(feature) => feature,
        Err(error) => {
            problems.add(unreadable(&error, &text()));
            return None;
        }
    };
    feature.path = Some(file.name.clone());
    for scenario in all_scenarios(&feature).filter(|scenario| is_rowless(scenario)) {
        let message = "the outline has no example rows, so nothing of it would be run";
        problems.add(Problem::new(&text(), scenario.position.line, message));
    }
    let starts = scenario_starts(&feature, file);
    let mut feature = match feature.expand_examples() {
        Ok(feature) => feature,
        Err(error) => {
            let message = format!("<{}> is not a column of the examples", error.name);
            problems.add(Problem::new(&text(), error.pos.line, message));
            return None;
        }
    };
    if !file.lines.is_empty() {
        let rows: Vec<usize> = all_scenarios(&feature)
            .map(|scenario| scenario.position.line)
            .collect();
        retain(&mut feature, |_, _, scenario| {
            file.lines
                .iter()
                .any(|line| stands_at(scenario, *line, &starts, &rows))
        });
    }
    retain(&mut feature, |feature, rule, scenario| {
        selection.wants(feature, rule, scenario, &full_name(feature, scenario))
    });
    let is_empty = all_scenarios(&feature).next().is_none();
    let (file, name) = (file.file.clone(), file.name.clone());
    (!is_empty).then(|| LoadedFeature {
        feature,
        file,
        name,
        text: OnceCell::new(),
    })
}

pub(crate) fn all_scenarios(feature: &Feature) -> impl Iterator<Item = &Scenario> {
    let ruled = feature.rules.iter().flat_map(|rule| &rule.scenarios);
    feature.scenarios.iter().chain(ruled)
}

fn retain(
    feature: &mut Feature,
    wanted: impl Fn(&Feature, Option<&gherkin::Rule>, &Scenario) -> bool,
) {
    let mut scenarios = std::mem::take(&mut feature.scenarios);
    scenarios.retain(|scenario| wanted(feature, None, scenario));
    feature.scenarios = scenarios;
    let mut rules = std::mem::take(&mut feature.rules);
    for rule in &mut rules {
        let mut scenarios = std::mem::take(&mut rule.scenarios);
        scenarios.retain(|scenario| wanted(feature, Some(rule), scenario));
        rule.scenarios = scenarios;
    }
    // A rule without a scenario would be announced by reports that nothing follows.
    rules.retain(|rule| !rule.scenarios.is_empty());
    feature.rules = rules;
}

fn is_rowless(scenario: &Scenario) -> bool {
    let rows = |examples: &gherkin::Examples| {
        examples
            .table
            .as_ref()
            .map_or(0, |table| table.rows.len().saturating_sub(1))
    };
    !scenario.examples.is_empty() && scenario.examples.iter().map(rows).sum::<usize>() == 0
}

/// The line of each `Scenario:` and `Scenario Outline:`, with the place by which its expanded rows still know it.
fn scenario_starts(feature: &Feature, file: &FeatureFile) -> Vec<(usize, usize)> {
    if file.lines.is_empty() {
        return Vec::new();
    }
    // The tags above a scenario belong to it; each is at most a line.
    let start = |scenario: &Scenario| {
        let line = scenario.position.line;
        (
            if scenario.tags.is_empty() {
                line
            } else {
                line.saturating_sub(1)
            },
            scenario.span.start,
        )
    };
    let mut starts: Vec<_> = all_scenarios(feature).map(start).collect();
    starts.sort_unstable();
    starts
}

/// Whether `line` means this scenario: the row that it comes from, or any line from its beginning to the next scenario; a line above the first scenario means all.
fn stands_at(scenario: &Scenario, line: usize, starts: &[(usize, usize)], rows: &[usize]) -> bool {
    if rows.contains(&line) {
        return scenario.position.line == line;
    }
    let meant = starts.iter().rfind(|(start, _)| *start <= line);
    meant.is_none_or(|(_, place)| *place == scenario.span.start)
}

fn unreadable(error: &ParseFileError, text: &FeatureText) -> Problem {
    match error {
        ParseFileError::Reading { source, .. } => {
            Problem::new(text, 1, format!("the feature cannot be read: {source}"))
        }
        ParseFileError::Parsing {
            error: Some(error),
            source,
            ..
        } => {
            let line = place_of(error, text)
                .unwrap_or_else(|| place_and_expectation(&source.to_string()).0);
            Problem::new(text, line, format!("the feature is not Gherkin: {error}"))
                .labelled("not understood")
        }
        ParseFileError::Parsing {
            error: None,
            source,
            ..
        } => {
            let (line, expected) = place_and_expectation(&source.to_string());
            Problem::new(text, line, "the feature is not Gherkin")
                .labelled("not understood from here")
                .helped(expected)
        }
    }
}

/// The line of an error of which the parser says only what it is: it has read on by then.
fn place_of(error: &EnvError, text: &FeatureText) -> Option<usize> {
    let line = |is_it: &dyn Fn(&str) -> bool| {
        text.as_str()
            .lines()
            .position(|line| is_it(line.trim()))
            .map(|index| index + 1)
    };
    match error {
        EnvError::UnknownKeyword(keyword) => line(&|line| line.starts_with(keyword.as_str())),
        EnvError::InconsistentCellCount(rows) => {
            let odd = rows.iter().find(|row| row.len() != rows[0].len())?;
            line(&|line| {
                line.trim_matches('|')
                    .split('|')
                    .map(str::trim)
                    .eq(odd.iter())
            })
        }
        EnvError::UnsupportedLanguage(_) => line(&|line| line.contains("language:")),
    }
}

/// The parser keeps the place to itself, but prints it: `Error at 3:5: {"Given", ..}`.
fn place_and_expectation(text: &str) -> (usize, Option<String>) {
    let rest = text.strip_prefix("Error at ").unwrap_or(text);
    let line = rest
        .split(':')
        .next()
        .and_then(|line| line.parse().ok())
        .unwrap_or(1);
    let mut words: Vec<&str> = rest
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| word.len() > 2 && word.chars().all(|c| c.is_alphabetic() || c == ' '))
        .collect();
    words.sort_unstable();
    let expected = (!words.is_empty()).then(|| format!("here could stand: {}", words.join(", ")));
    (line, expected)
}
