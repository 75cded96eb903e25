//! `lockgate explain`: the question in a URL, the answer as JSON and as text.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::op::escape::printable;
use crate::op::{Effect, RemotePath};
use crate::policy::{End, Explanation, Protocol};
use crate::route::{MapError, Root};
use crate::session::{Explained, ExplainedLogin, ExplainedPolicy, Gateway, Query};
use crate::wire::ftp::command::{COMMANDS, is_command_name};

/// Answers questions about logins and operations, from a running gateway or its configuration alone.
pub struct Explainer {
    /// Decides them.
    pub gateway: Arc<Gateway>,
    /// All listeners.
    pub listeners: Vec<ListenerKind>,
}

/// What clients speak at a listener.
pub struct ListenerKind {
    /// Its name in the configuration.
    pub name: String,
    /// FTP or SFTP.
    pub protocol: Protocol,
    /// Whether connections can be encrypted.
    pub can_encrypt: bool,
    /// Whether they must be.
    pub must_encrypt: bool,
}

/// A question, as written on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The user name, as the client sends it.
    pub user: String,
    /// The client's address.
    pub source: String,
    /// The listener's name; empty: the only one.
    pub listener: String,
    /// The server name that the client sends under TLS.
    pub server_name: String,
    /// An operation, or an FTP command in upper case; empty: only the login.
    pub operation: String,
    /// The path, as the client sees it.
    pub path: String,
    /// The second path of a rename or a link.
    pub to: String,
    /// RFC 3339, such as 2026-11-30T08:00:00Z; empty: now.
    pub time: String,
    /// `true`: without TLS, where the listener allows that.
    pub plain: String,
}

impl Question {
    fn fields(&mut self) -> [(&'static str, &mut String); 9] {
        [
            ("user", &mut self.user),
            ("source", &mut self.source),
            ("listener", &mut self.listener),
            ("server_name", &mut self.server_name),
            ("operation", &mut self.operation),
            ("path", &mut self.path),
            ("to", &mut self.to),
            ("time", &mut self.time),
            ("plain", &mut self.plain),
        ]
    }

    /// The path and query of a request to the admin socket.
    pub(super) fn to_url(&self) -> String {
        let mut question = self.clone();
        let given = question.fields().into_iter().filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(given.map(|(key, value)| (key, value.as_str())))
            .finish();
        format!("/explain?{query}")
    }

    pub(super) fn from_query(query: &str) -> Result<Self, String> {
        let mut question = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = question.fields().into_iter().find(|(name, _)| *name == key);
            let (_, field) = field.ok_or_else(|| format!("unknown parameter \"{key}\""))?;
            *field = value.into_owned();
        }
        Ok(question)
    }
}

impl Explainer {
    /// The answer as JSON.
    ///
    /// # Errors
    /// Why the question cannot be answered, such as an unknown listener.
    pub fn answer(&self, question: &Question) -> Result<Value, String> {
        let query = self.query(question)?;
        Ok(answer(&query, &self.gateway.explain(&query)))
    }

    fn query(&self, question: &Question) -> Result<Query, String> {
        let listener = self.listener(&question.listener)?;
        let source: IpAddr = question
            .source
            .parse()
            .map_err(|_| format!("\"{}\" is not an IP address (--source)", question.source))?;
        let plain = question.plain == "true";
        if plain && listener.must_encrypt {
            return Err(format!(
                "the listener \"{}\" requires encryption (--plain)",
                listener.name
            ));
        }
        let any_command = self.gateway.backends.values().any(|backend| backend.is_opaque());
        let (effects, command) = asked(question, any_command)?;
        let now = match question.time.as_str() {
            "" => Timestamp::now(),
            time => time.parse().map_err(|_| {
                format!("\"{time}\" is not a time such as 2026-11-30T08:00:00Z (--time)")
            })?,
        };
        Ok(Query {
            listener: listener.name.clone(),
            protocol: listener.protocol,
            encrypted: listener.can_encrypt && !plain,
            source: source.to_canonical(),
            server_name: Some(question.server_name.clone()).filter(|name| !name.is_empty()),
            user: question.user.clone().into_bytes(),
            effects,
            command,
            now,
        })
    }

    fn listener(&self, name: &str) -> Result<&ListenerKind, String> {
        let names: Vec<_> = self.listeners.iter().map(|listener| listener.name.as_str()).collect();
        match (name, self.listeners.as_slice()) {
            ("", [only]) => Ok(only),
            ("", _) => Err(format!("name a listener with --listener: {}", names.join(", "))),
            (name, listeners) => {
                listeners.iter().find(|listener| listener.name == name).ok_or_else(|| {
                    format!("there is no listener \"{name}\"; known are: {}", names.join(", "))
                })
            }
        }
    }
}

type Asked = (Vec<(Effect, RemotePath, End)>, Option<String>);

/// `any_command`: also one that the gateway does not know, which an opaque server may.
fn asked(question: &Question, any_command: bool) -> Result<Asked, String> {
    let Question { operation, path, to, .. } = question;
    if operation.is_empty() {
        return match (path.as_str(), to.as_str()) {
            ("", "") => Ok((Vec::new(), None)),
            _ => Err("a path needs an operation (--operation)".into()),
        };
    }
    if COMMANDS.contains(&operation.as_str()) || any_command && is_command_name(operation) {
        return Ok((Vec::new(), Some(operation.clone())));
    }
    let Some((_, effect)) = Effect::ALL.iter().find(|(name, _)| name == operation) else {
        let names: Vec<_> = Effect::ALL.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "\"{operation}\" is neither an operation ({}) nor an FTP command in upper case (--operation)",
            names.join(", ")
        ));
    };
    if path.is_empty() {
        return Err(format!("the operation {operation} needs a path (--path)"));
    }
    let resolve = |path: &str| {
        RemotePath::resolve(&RemotePath::root(), path.as_bytes()).map_err(|e| e.to_string())
    };
    let path = resolve(path)?;
    if to.is_empty() {
        return Ok((vec![(*effect, path, End::Any)], None));
    }
    // What comes of it if the new name exists, or is made.
    let also = match effect {
        Effect::Rename => Effect::Overwrite,
        Effect::Link => Effect::Create,
        _ => return Err(format!("the operation {operation} has no second path (--to)")),
    };
    let to = resolve(to)?;
    let effects =
        vec![(*effect, path, End::Old), (*effect, to.clone(), End::New), (also, to, End::Any)];
    Ok((effects, None))
}

fn answer(query: &Query, explained: &Explained) -> Value {
    let passed_over: Vec<_> = explained
        .passed_over
        .iter()
        .map(|(route, why)| json!({ "route": route, "why": why }))
        .collect();
    json!({
        "user": printable(&query.user).to_string(),
        "listener": query.listener,
        "protocol": query.protocol.as_str(),
        "encrypted": query.encrypted,
        "source": query.source.to_string(),
        "time": query.now.to_string(),
        "routes_passed_over": passed_over,
        "login": explained.login.as_ref().map(login),
    })
}

fn login(login: &ExplainedLogin) -> Value {
    let root = match &login.root {
        Ok(Root::Home) => json!("home"),
        Ok(Root::Path(path)) => json!(path.to_string()),
        Err(_) => Value::Null,
    };
    json!({
        "user": printable(&login.user).to_string(),
        "groups": login.groups,
        "identity": login.identity,
        "route": login.route,
        "backend": login.backend,
        "root": root,
        "refused": login.root.as_ref().err(),
        "rewritten": login.rewritten.iter().map(rewritten).collect::<Vec<_>>(),
        "policy": login.policy.as_ref().map(policy),
        "limits": login.limits,
    })
}

/// `at_backend` is below the root.
fn rewritten((path, there): &(RemotePath, Result<RemotePath, MapError>)) -> Value {
    let hidden = there.as_ref().err().map(ToString::to_string);
    let there = there.as_ref().ok().map(ToString::to_string);
    json!({ "path": path.to_string(), "at_backend": there, "hidden": hidden })
}

fn policy(policy: &ExplainedPolicy) -> Value {
    let effects: Vec<_> =
        policy.effects.iter().map(|(effect, path, it)| decision(*effect, path, it)).collect();
    let command = policy.command.as_ref().map(|decided| match decided {
        Ok(()) => json!({ "allowed": true }),
        Err(denial) => json!({ "allowed": false, "rule": denial.rule.as_deref() }),
    });
    json!({ "dry_run": policy.dry_run, "decisions": effects, "command": command })
}

fn decision(effect: Effect, path: &RemotePath, explanation: &Explanation) -> Value {
    let passed_over: Vec<_> = explanation
        .passed_over
        .iter()
        .map(|(rule, why)| json!({ "rule": &**rule, "why": why.reason() }))
        .collect();
    let (rule, why) = match &explanation.decision {
        Ok(rule) => (Some(&**rule), None),
        Err(denial) => (denial.rule().map(|rule| &**rule), Some(denial.explanation())),
    };
    json!({
        "operation": effect.as_str(),
        "path": path.to_string(),
        "allowed": explanation.decision.is_ok(),
        "rule": rule,
        "why": why,
        "rules_passed_over": passed_over,
        "uploads": explanation.uploads.iter().map(|name| &**name).collect::<Vec<_>>(),
        "max_size": explanation.max_size,
    })
}

/// The answer for a terminal. `answer` is that of [`Explainer::answer`], perhaps of another version.
pub fn explanation_text(answer: &Value) -> String {
    let mut text = String::new();
    let at = [&answer["listener"], &answer["protocol"], &answer["source"]].map(word);
    let encryption = if answer["encrypted"] == true { "encrypted" } else { "not encrypted" };
    let _ = writeln!(
        text,
        "client    {} at {} ({}, {encryption}), {}",
        at[2],
        at[0],
        at[1],
        word(&answer["time"])
    );
    for route in items(&answer["routes_passed_over"]) {
        let _ = writeln!(
            text,
            "          routes[{}] is passed over: {}",
            route["route"],
            word(&route["why"])
        );
    }
    let login = &answer["login"];
    if login.is_null() {
        let _ = writeln!(text, "refused   no route matches: the login fails");
        return text;
    }
    let groups: Vec<_> = items(&login["groups"]).iter().map(word).collect();
    let groups = if groups.is_empty() { "no groups".to_owned() } else { groups.join(", ") };
    let _ = writeln!(
        text,
        "user      {} ({groups}): {}",
        word(&login["user"]),
        word(&login["identity"])
    );
    let _ = writeln!(
        text,
        "route     routes[{}] leads to backend \"{}\"{}",
        login["route"],
        word(&login["backend"]),
        login["root"].as_str().map_or(String::new(), |root| format!(", root {root}")),
    );
    if let Some(why) = login["refused"].as_str() {
        let _ = writeln!(text, "refused   {why}");
        return text;
    }
    for path in items(&login["rewritten"]) {
        let name = word(&path["path"]);
        let _ = match path["hidden"].as_str() {
            Some(why) => writeln!(text, "hidden    {name}: {why}"),
            None => writeln!(
                text,
                "rewrite   {name} is {} at the backend, below the root",
                word(&path["at_backend"])
            ),
        };
    }
    text += &policy_text(&login["policy"]);
    for limit in items(&login["limits"]) {
        let _ = writeln!(text, "limit     {}", word(limit));
    }
    text
}

fn policy_text(policy: &Value) -> String {
    let mut text = String::new();
    if policy.is_null() {
        return "policy    none: whatever the backend allows\n".into();
    }
    if policy["dry_run"] == true {
        text += "policy    in dry run: what it denies is only logged\n";
    }
    for decision in items(&policy["decisions"]) {
        for rule in items(&decision["rules_passed_over"]) {
            let _ = writeln!(
                text,
                "          rule \"{}\" is passed over: {}",
                word(&rule["rule"]),
                word(&rule["why"])
            );
        }
        let (operation, path) = (word(&decision["operation"]), word(&decision["path"]));
        let _ = match (decision["allowed"] == true, decision["why"].as_str()) {
            (true, _) => {
                writeln!(text, "allowed   {operation} {path}: rule \"{}\"", word(&decision["rule"]))
            }
            (false, why) => {
                writeln!(text, "denied    {operation} {path}: {}", why.unwrap_or_default())
            }
        };
        if let Some(max) = decision["max_size"].as_u64() {
            let _ = writeln!(text, "          files of at most {max} bytes");
        }
    }
    match (&policy["command"]["allowed"], &policy["command"]["rule"]) {
        (Value::Bool(true), _) => text += "allowed   no rule denies the command\n",
        (Value::Bool(false), Value::Null) => {
            text += "denied    no rule names the command, and at a backend with `dialect: opaque` one must\n";
        }
        (Value::Bool(false), rule) => {
            let _ = writeln!(text, "denied    rule \"{}\" denies the command", word(rule));
        }
        _ => {}
    }
    text
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| printable(text.as_bytes()).to_string())
}
