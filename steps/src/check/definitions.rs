//! Definitions: which step of ours a line of a feature is, with its arguments and what it will do.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use cucumber::{
    Parameter,
    codegen::{StepConstructor, WorldInventory, inventory},
    step::Location,
};
use cucumber_expressions::Expression;
use gherkin::{Step, StepType};
use regex::{Regex, RegexSet};

use crate::{
    Count, NodeRef, TrellisWorld, Within,
    chain::Amount,
    effect::{StepArguments, StepEffects},
    sources::Touched,
};

/// How many known phrases are offered in place of an unknown one.
const SUGGESTIONS_MAX: usize = 3;
/// How alike a phrase must be in order to be offered, from 0 to 1.
const SIMILARITY_MIN: f64 = 0.6;

/// All tables of effects, one a step module.
pub(crate) fn all_effects() -> impl Iterator<Item = &'static StepEffects> {
    [
        crate::cfgsync::EFFECTS,
        crate::cluster::EFFECTS,
        crate::lifecycle::EFFECTS,
        crate::observation::EFFECTS,
        crate::kv::EFFECTS,
        crate::self_test::EFFECTS,
        crate::sources::EFFECTS,
        crate::outsiders::EFFECTS,
    ]
    .into_iter()
    .chain(crate::chain::effects())
    .chain(crate::projection::effects())
    .flatten()
}

/// One step function under one keyword.
pub(crate) struct Definition {
    /// Where it is in our source.
    pub(crate) location: Location,
    /// What its text must match.
    pub(crate) regex: Regex,
    /// Its expression as it stands in the source, as far as it can be told.
    pub(crate) expression: String,
    /// What it will do, where that is known from its text.
    pub(crate) effects: Option<&'static StepEffects>,
}

/// What a line of a feature is.
#[derive(Clone)]
pub(crate) enum Found {
    /// No step of ours; with known phrases that are like it.
    Undefined(Arc<Vec<String>>),
    /// More than one step of ours.
    Ambiguous(Arc<Vec<&'static Definition>>),
    /// One step of ours, with its arguments' texts.
    One(&'static Definition, Arc<Vec<String>>),
}

/// The definitions of one keyword.
struct Keyword {
    set: RegexSet,
    definitions: Vec<Definition>,
}

/// All step definitions of this program.
pub(crate) struct Definitions {
    given: Keyword,
    when: Keyword,
    then: Keyword,
}

impl Definitions {
    /// Those of [`TrellisWorld`].
    pub(crate) fn ours() -> &'static Self {
        static OURS: LazyLock<Definitions> = LazyLock::new(|| {
            let humanizer = Humanizer::new();
            Definitions {
                given: keyword::<<TrellisWorld as WorldInventory>::Given>(&humanizer),
                when: keyword::<<TrellisWorld as WorldInventory>::When>(&humanizer),
                then: keyword::<<TrellisWorld as WorldInventory>::Then>(&humanizer),
            }
        });
        &OURS
    }

    /// Finds the step that a line of a feature means.
    pub(crate) fn find(&'static self, step: &Step) -> Found {
        let keyword = self.keyword(step.ty);
        let matching: Vec<&Definition> = keyword
            .set
            .matches(&step.value)
            .iter()
            .map(|index| &keyword.definitions[index])
            .collect();
        match matching[..] {
            [] => Found::Undefined(Arc::new(keyword.nearest(&step.value))),
            [one] => Found::One(one, Arc::new(one.arguments(&step.value))),
            _ => Found::Ambiguous(Arc::new(matching)),
        }
    }

    fn keyword(&self, ty: StepType) -> &Keyword {
        match ty {
            StepType::Given => &self.given,
            StepType::When => &self.when,
            StepType::Then => &self.then,
        }
    }

    /// All definitions, a function once for each keyword that it has.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Definition> {
        [&self.given, &self.when, &self.then]
            .into_iter()
            .flat_map(|keyword| &keyword.definitions)
    }
}

fn keyword<T: inventory::Collect + StepConstructor<TrellisWorld>>(
    humanizer: &Humanizer,
) -> Keyword {
    let effects: HashMap<String, &'static StepEffects> = all_effects()
        .filter_map(|effects| Some((compile(effects.expression)?.as_str().to_owned(), effects)))
        .collect();
    let definitions: Vec<Definition> = inventory::iter::<T>
        .into_iter()
        .map(|step| {
            let (location, regex, _) = step.inner();
            let regex = regex();
            let effects = effects.get(regex.as_str()).copied();
            let expression = effects.map_or_else(
                || humanizer.expression(regex.as_str()),
                |e| e.expression.to_owned(),
            );
            Definition {
                location,
                regex,
                expression,
                effects,
            }
        })
        .collect();
    let set = RegexSet::new(
        definitions
            .iter()
            .map(|definition| definition.regex.as_str()),
    )
    .expect("each of the expressions was compiled before");
    Keyword { set, definitions }
}

impl Keyword {
    /// Known phrases that are like `text`, the most alike first.
    fn nearest(&self, text: &str) -> Vec<String> {
        let known: BTreeSet<&str> = self
            .definitions
            .iter()
            .map(|definition| definition.expression.as_str())
            .collect();
        let mut rated: Vec<(f64, &str)> = known
            .into_iter()
            .map(|phrase| (similarity(text, phrase), phrase))
            .filter(|(rating, _)| *rating >= SIMILARITY_MIN)
            .collect();
        rated.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        rated
            .into_iter()
            .take(SUGGESTIONS_MAX)
            .map(|(_, phrase)| phrase.to_owned())
            .collect()
    }
}

/// How alike a text and an expression are, from 0 to 1. Quoted texts and numbers of the text count as parameters do.
fn similarity(text: &str, expression: &str) -> f64 {
    static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\{[a-z]+\}|"[^"]*"|\d+(?: (?:seconds?|minutes?|ms))?|\b[A-Z][A-Z0-9_]+\b"#)
            .expect("the expression is valid")
    });
    let skeleton = |text: &str| PARAMETER.replace_all(text, "_").replace("node _", "_");
    strsim::normalized_damerau_levenshtein(&skeleton(text), &skeleton(expression))
}

impl Definition {
    /// The texts of the parameters of `text`, which must match.
    fn arguments(&self, text: &str) -> Vec<String> {
        let Some(captures) = self.regex.captures(text) else {
            return Vec::new();
        };
        let mut arguments: Vec<String> = Vec::new();
        let mut parameter = None;
        for (name, capture) in self.regex.capture_names().zip(captures.iter()).skip(1) {
            let value = capture.map_or("", |capture| capture.as_str());
            // A parameter of several groups, such as {string}, names them `__<parameter>_<group>`.
            let of = name
                .and_then(|name| name.strip_prefix("__")?.split_once('_'))
                .map(|(id, _)| id);
            match arguments.last_mut() {
                Some(last) if of.is_some() && of == parameter => {
                    if last.is_empty() {
                        value.clone_into(last);
                    }
                }
                _ => arguments.push(value.to_owned()),
            }
            parameter = of;
        }
        arguments
    }
}

/// The arguments of `step`, as the tables of effects want them.
pub(crate) fn step_arguments(step: &Step, values: &[String]) -> StepArguments {
    StepArguments {
        values: values.to_vec(),
        table: step.table.as_ref().map(|table| table.rows.clone()),
        doc_string: step.docstring.clone(),
    }
}

/// The regular expressions of our own parameter types, by name.
fn parameters() -> HashMap<&'static str, &'static str> {
    HashMap::from([
        (Within::NAME, Within::REGEX),
        (Count::NAME, Count::REGEX),
        (NodeRef::NAME, NodeRef::REGEX),
        (Touched::NAME, Touched::REGEX),
        (Amount::NAME, Amount::REGEX),
    ])
}

/// The regular expression that cucumber makes of `expression`.
pub(crate) fn compile(expression: &str) -> Option<Regex> {
    Expression::regex_with_parameters(expression, &parameters()).ok()
}

/// Turns regular expressions back into the expressions that they were made of, for people.
struct Humanizer(Vec<(String, String)>);

impl Humanizer {
    fn new() -> Self {
        let ours = parameters();
        let names = ours
            .keys()
            .copied()
            .chain(["string", "int", "float", "word"]);
        let parts = names.filter_map(|name| {
            let expression = format!("{{{name}}}");
            let regex = numberless(compile(&expression)?.as_str());
            Some((
                regex
                    .trim_start_matches('^')
                    .trim_end_matches('$')
                    .to_owned(),
                expression,
            ))
        });
        let mut parts: Vec<_> = parts.collect();
        // A longer one may hold a shorter one.
        parts.sort_by_key(|(regex, _)| std::cmp::Reverse(regex.len()));
        Self(parts)
    }

    fn expression(&self, regex: &str) -> String {
        static OPTIONAL: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\(\?:([a-z]+)\)\?").expect("the expression is valid"));
        static CHOICE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\(\?:([a-z|]+)\)").expect("the expression is valid"));
        let mut text = numberless(regex);
        for (part, expression) in &self.0 {
            text = text.replace(part, expression);
        }
        let text = OPTIONAL.replace_all(&text, "($1)");
        let text = CHOICE.replace_all(&text, |choice: &regex::Captures<'_>| {
            choice[1].replace('|', "/")
        });
        text.trim_start_matches('^')
            .trim_end_matches('$')
            .replace('\\', "")
    }
}

/// Takes the numbers out of group names, which differ by where in an expression a parameter stands.
fn numberless(regex: &str) -> String {
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"__\d+_").expect("the expression is valid"));
    NUMBER.replace_all(regex, "__").into_owned()
}
