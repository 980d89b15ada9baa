//! Sources: what an observer looks at, and who says which there are right now.
//!
//! A source is the app's own type (a node client, a public endpoint). Nothing here asks a source
//! anything: that is the observer's, with the help of `poll_sources`.

use std::sync::Arc;

use async_trait::async_trait;

/// Any error that an app's code may return to the runtime.
pub type DynError = Box<dyn std::error::Error + Send + Sync>;

/// A source under the name that people know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSource<S> {
    /// Unique among the sources of one runtime: per-source health is kept under it.
    pub name: String,
    /// The app's own client or endpoint.
    pub source: S,
}

impl<S> ObservedSource<S> {
    /// Names a source.
    pub fn new(name: impl Into<String>, source: S) -> Self {
        Self {
            name: name.into(),
            source,
        }
    }
}

/// Says which sources exist now. It is asked at the start of each cycle.
///
/// An empty list is a state like any other, not an error. An error means that the list is not
/// known: the cycle is then skipped and counted as failing, and the last snapshot stays.
#[async_trait]
pub trait SourceProvider<S>: Send + Sync + 'static {
    /// The sources as they are now, in the order in which they should be shown.
    ///
    /// # Cancel safety
    /// The call is dropped at an await point when it overruns `sources_timeout`, or when the
    /// runtime is stopped.
    async fn sources(&self) -> Result<Vec<ObservedSource<S>>, DynError>;
}

#[async_trait]
impl<S, P> SourceProvider<S> for Arc<P>
where
    S: 'static,
    P: SourceProvider<S> + ?Sized,
{
    async fn sources(&self) -> Result<Vec<ObservedSource<S>>, DynError> {
        self.as_ref().sources().await
    }
}

/// A provider whose sources never change.
#[derive(Clone, Debug)]
pub struct StaticSources<S>(Vec<ObservedSource<S>>);

impl<S> StaticSources<S> {
    /// Always answers with `sources`.
    pub fn new(sources: impl IntoIterator<Item = ObservedSource<S>>) -> Self {
        Self(sources.into_iter().collect())
    }
}

#[async_trait]
impl<S: Clone + Send + Sync + 'static> SourceProvider<S> for StaticSources<S> {
    async fn sources(&self) -> Result<Vec<ObservedSource<S>>, DynError> {
        Ok(self.0.clone())
    }
}
