//! `routes[].root`: a path, perhaps with `{user}`, or `home`.

use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Value};
use crate::op::TextPathError;
use crate::route::{RootSetting, RootTextError, USER_PLACEHOLDER};

const HOME: &str = "home";

impl Value for RootSetting {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::from_text(text).map_err(|wrong| {
            let suggestion = match (&wrong, text) {
                (RootTextError::Braces(wrong), _) => meant(text, wrong),
                (_, "~" | "~/" | "Home" | "HOME") => Some(HOME.into()),
                (RootTextError::Path(TextPathError::Relative), _) => Some(format!("/{text}")),
                _ => None,
            };
            Invalid { message: wrong.to_string(), suggestion }
        })
    }

    fn schema() -> Json {
        json!({ "title": "`home` or an absolute path", "anyOf": [
            { "type": "string", "const": HOME },
            { "type": "string", "pattern": r"^/([^{}]|\{user\})*$" },
        ] })
    }
}

/// The root with `{user}`, if the placeholder is another program's for the user's name.
fn meant(text: &str, placeholder: &str) -> Option<String> {
    let word = placeholder.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let is_user = ["user", "username", "user_name", "login", "name", "u"].contains(&word.as_str());
    let corrected = text.replacen(placeholder, USER_PLACEHOLDER, 1);
    (is_user && RootSetting::parse(&corrected).is_ok()).then_some(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_is_a_placeholder() {
        for (text, wrong, meant) in [
            ("/srv/{usr}/in", "{usr}", None),
            ("/srv/{group}", "{group}", None),
            ("/srv/{User}/in", "{User}", Some("/srv/{user}/in")),
            ("/srv/{username}", "{username}", Some("/srv/{user}")),
            ("/srv/{{ user }}/in", "{{ user }}", Some("/srv/{user}/in")),
            ("/srv/{{user}}", "{{user}}", Some("/srv/{user}")),
            ("/srv/${USER}", "${USER}", Some("/srv/{user}")),
            ("/srv/${user}", "${user}", Some("/srv/{user}")),
            ("/srv/%{user}", "%{user}", Some("/srv/{user}")),
            ("/srv/{user}/{name}", "{name}", Some("/srv/{user}/{user}")),
            ("{login}", "{login}", None),
            ("/srv/{}", "{}", None),
            ("/srv/{user", "{", None),
            ("/srv/user}", "}", None),
            ("/srv/{user}}", "}", None),
            ("/srv/{us/er}", "{", None),
            ("/{3F2504E0-4F89}/x", "{3F2504E0-4F89}", None),
            ("/größe-{größe}", "{größe}", None),
        ] {
            let Err(invalid) = RootSetting::parse(text) else { panic!("{text}") };
            assert!(
                invalid.message.starts_with(&format!("`{wrong}` is not replaced: only `{{user}}`")),
                "{invalid:?}"
            );
            assert_eq!(invalid.suggestion.as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn a_root_with_user_is_a_folder_for_each() {
        for text in ["/{user}", "/srv/p-{user}/in", "/{user}/{user}", "/ü/{user}"] {
            let Ok(setting) = RootSetting::parse(text) else { panic!("{text}") };
            assert!(matches!(setting, RootSetting::EachUser(_)), "{text}");
            assert_eq!(setting.to_string(), text);
        }
        for text in ["/", "/srv/user", "home", "/home"] {
            assert!(matches!(RootSetting::parse(text), Ok(RootSetting::Same(_))), "{text}");
        }
        for (text, meant) in
            [("{user}/in", Some("/{user}/in")), ("/{user}/../x", None), ("/{user}\n", None)]
        {
            let Err(invalid) = RootSetting::parse(text) else { panic!("{text}") };
            assert_eq!(invalid.suggestion.as_deref(), meant, "{text}");
        }
    }
}
