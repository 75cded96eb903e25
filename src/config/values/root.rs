//! `routes[].root`: a path, perhaps with `{user}`, or `home`.

use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Value};
use crate::op::RemotePath;
use crate::route::{Root, RootSetting, USER_PLACEHOLDER, UserFolder};

const HOME: &str = "home";

impl Value for RootSetting {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == HOME {
            return Ok(Self::Same(Root::Home));
        }
        if let Some(wrong) = other_braces(text) {
            let message = format!(
                "`{wrong}` is not replaced: only `{USER_PLACEHOLDER}` is, by the user's name; no other \
                 brace is possible in a root"
            );
            return Err(Invalid { message, suggestion: meant(text, wrong) });
        }
        let path = RemotePath::parse(text).map_err(|wrong| match text {
            "~" | "~/" | "Home" | "HOME" => Invalid { suggestion: Some(HOME.into()), ..wrong },
            _ => wrong,
        })?;
        Ok(match UserFolder::new(path.clone()) {
            Some(folder) => Self::EachUser(folder),
            None => Self::Same(Root::Path(path)),
        })
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "type": "string", "const": HOME },
            { "type": "string", "pattern": r"^/([^{}]|\{user\})*$" },
        ] })
    }
}

/// The first brace that is not part of `{user}`, with the placeholder that it seems to belong to;
/// `${user}` and `%{user}` are those of other programs.
pub(super) fn other_braces(text: &str) -> Option<&str> {
    let mut at = 0;
    loop {
        let start = at + text[at..].find(['{', '}'])?;
        let before = text[..start].chars().next_back().filter(|c| matches!(c, '$' | '%'));
        let rest = &text[start..];
        if rest.starts_with(USER_PLACEHOLDER) && before.is_none() {
            at = start + USER_PLACEHOLDER.len();
            continue;
        }
        let component = &rest[..rest.find('/').unwrap_or(rest.len())];
        let length = component.find('}').map_or(1, |end| {
            // `{{user}}`
            component[end..].find(|c| c != '}').unwrap_or(component.len() - end) + end
        });
        return Some(&text[start - before.map_or(0, char::len_utf8)..start + length]);
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
