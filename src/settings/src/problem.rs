//! Problems: what is wrong with the settings, shown with file, line, and a mark under the words.

use std::{error::Error, fmt, ops::Range, path::Path, sync::Arc};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

/// Everything that is wrong with the settings, in the order of the file and then of the variables.
#[derive(Debug)]
pub struct SettingsError {
    problems: Vec<SettingsProblem>,
}

impl SettingsError {
    pub(crate) fn new(problems: Vec<SettingsProblem>) -> Self {
        Self { problems }
    }

    /// What is wrong; never empty.
    pub fn problems(&self) -> &[SettingsProblem] {
        &self.problems
    }

    /// Draws all of it for a terminal, or in plain characters.
    pub fn render(&self, colored: bool) -> String {
        let drawn = self.problems.iter().map(|problem| problem.render(colored));
        drawn.collect::<Vec<_>>().join("\n")
    }
}

/// All problems in one line, for where there is no room to draw.
impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Error for SettingsError {}

/// One thing that is wrong, in the file or in a variable.
///
/// The text that it shows has no secrets in it, whatever stands in the file.
#[derive(Debug, Clone)]
pub struct SettingsProblem {
    message: String,
    help: Option<String>,
    place: Option<Place>,
}

/// Where in the file.
#[derive(Debug, Clone)]
struct Place {
    text: SettingsText,
    span: Range<usize>,
    label: String,
}

/// The text of a settings file as it may be shown, under the file's name. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SettingsText(Arc<NamedSource<String>>);

impl SettingsText {
    /// `shown` is the text without what must not be shown, every byte where it was.
    pub(crate) fn new(file: &Path, shown: String) -> Self {
        Self(Arc::new(NamedSource::new(file.to_string_lossy(), shown)))
    }

    fn line(&self, offset: usize) -> usize {
        let text = self.0.inner().as_bytes();
        let before = &text[..offset.min(text.len())];
        before.split(|byte| *byte == b'\n').count()
    }
}

impl SettingsProblem {
    /// A problem that is not in a file.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            place: None,
        }
    }

    /// A variable that is not what is `wanted`; its value is not shown, since it may be a secret that went astray.
    pub(crate) fn of_variable(name: &str, wanted: &str) -> Self {
        Self::new(format!("the variable {name} must be {wanted}"))
    }

    /// This problem with the place that `label` is written under.
    pub(crate) fn at(
        mut self,
        text: &SettingsText,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        self.place = Some(Place {
            text: text.clone(),
            span,
            label: label.into(),
        });
        self
    }

    /// This problem with advice.
    pub(crate) fn helped(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// The file that it is in, as it is shown, and the line there, from 1.
    pub fn place(&self) -> Option<(&str, usize)> {
        let place = self.place.as_ref()?;
        Some((place.text.0.name(), place.text.line(place.span.start)))
    }

    /// Where in the file it begins; what is in no file comes last.
    pub(crate) fn order(&self) -> usize {
        let place = self.place.as_ref();
        place.map_or(usize::MAX, |place| place.span.start)
    }

    fn render(&self, colored: bool) -> String {
        drawn(self, colored).unwrap_or_else(|| format!("{self}\n"))
    }
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SettingsProblem {}

impl Diagnostic for SettingsProblem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let place = self.place.as_ref()?;
        Some(&*place.text.0)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = LabeledSpan::new_with_span(Some(place.label.clone()), place.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// The known word that `wrong` was most likely meant to be.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Below it, words have little but their first letters in common.
    const LIKENESS_MIN: f64 = 0.8;
    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&wrong, &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// A diagnostic as all of the harness shows them: with the line that is wrong, for a terminal or in plain characters. `None` where its source cannot be drawn; it is still a problem to be told of.
pub fn drawn(diagnostic: &dyn Diagnostic, colored: bool) -> Option<String> {
    let theme = if colored {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        // Terminals wrap by themselves, and programs look for whole sentences.
        .with_wrap_lines(false)
        .with_context_lines(1);
    let mut text = String::new();
    let drawn = handler.render_report(&mut text, diagnostic);
    drawn.ok().map(|()| text)
}
