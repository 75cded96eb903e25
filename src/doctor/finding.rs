//! What a check found.

/// How serious a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Skipped,
    /// It works, but not for everybody, not for long, or not as expected.
    Warning,
    /// It does not work.
    Problem,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub level: Level,
    /// What was looked at: `backend "stock"`. Not escaped.
    pub topic: String,
    /// What was found. Not escaped.
    pub message: String,
    /// What to do. Not escaped.
    pub remedy: Option<String>,
}

/// The findings about one topic.
pub(super) struct Findings {
    topic: String,
    list: Vec<Finding>,
}

impl Level {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Findings {
    pub(super) fn new(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), list: Vec::new() }
    }

    pub(super) fn ok(&mut self, message: impl Into<String>) {
        self.push(Level::Ok, message.into(), None);
    }

    pub(super) fn skipped(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Level::Skipped, message.into(), Some(remedy.into()));
    }

    /// A warning whose message says what to do.
    pub(super) fn warning(&mut self, message: impl Into<String>) {
        self.push(Level::Warning, message.into(), None);
    }

    pub(super) fn warning_with(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Level::Warning, message.into(), Some(remedy.into()));
    }

    pub(super) fn problem(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Level::Problem, message.into(), Some(remedy.into()));
    }

    pub(super) fn push(&mut self, level: Level, message: String, remedy: Option<String>) {
        let remedy = remedy.filter(|remedy| !remedy.is_empty());
        self.list.push(Finding { level, topic: self.topic.clone(), message, remedy });
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Adds findings, with their own topics.
    pub(super) fn append(&mut self, other: Findings) {
        self.list.extend(other.list);
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        self.list
    }

    /// Without the topic, for tests.
    #[cfg(test)]
    pub(super) fn levels(&self) -> Vec<(Level, &str)> {
        self.list.iter().map(|it| (it.level, it.message.as_str())).collect()
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let line = |it: &Finding| {
            format!(
                "{} {} | {}\n",
                it.level.as_str(),
                it.message,
                it.remedy.as_deref().unwrap_or("")
            )
        };
        self.list.iter().map(line).collect()
    }
}
