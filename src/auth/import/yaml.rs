//! Imported users as YAML, for the configuration or a file of users.

use std::fmt;

use super::{Imported, RefusedLine};
use crate::op::escape::printable;

/// `users:` with one user a line. The lines that were not taken are comments.
impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refused in &self.refused {
            writeln!(f, "# not taken: {refused}")?;
        }
        if self.users.is_empty() {
            return writeln!(f, "users: {{}}");
        }
        writeln!(f, "users:")?;
        for user in &self.users {
            write!(
                f,
                "  {}: {{ password_hash: {} }}",
                quoted(&user.name),
                quoted(user.hash.as_str())
            )?;
            match &user.home {
                Some(home) => writeln!(f, "  # home: {}", printable(home.as_bytes()))?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// Escaped.
impl fmt::Display for RefusedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.name.is_empty() {
            write!(f, "{}: ", printable(self.name.as_bytes()))?;
        }
        write!(f, "{}", self.why)
    }
}

/// In YAML's double quotes, of which JSON's are a part.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
