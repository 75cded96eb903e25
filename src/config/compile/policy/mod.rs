//! `policy`: rules, conditions on uploads, and limits.

mod anonymous;
mod conditions;
mod limits;
mod reach;

use super::conditions::globs;
use super::{opaque, value};
use crate::config::leaf::{Invalid, Leaf, OneOrMore};
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::{OperationWord, Text};
use crate::op::Effects;
use crate::policy::{self, Rule, RuleSet, Scope, UploadRule, Verdict};

pub(super) use conditions::{Given, session as session_conditions};
pub(super) use limits::compile as limits;

/// The rules and the conditions on uploads; `None` without rules.
pub(super) fn compile(file: &File, problems: &mut Problems) -> Option<RuleSet> {
    let Some(policy) = &file.policy else {
        anonymous::warn(file, None, problems);
        return None;
    };
    if policy.rules.is_none() {
        anonymous::warn(file, None, problems);
        if policy.uploads.is_some() || policy.dry_run.is_some() {
            problems.error(&policy.at.absent("rules"), "is missing");
        }
        // Only limits: they forbid nothing.
        return None;
    }
    let dry_run = value(&policy.dry_run).copied().unwrap_or_default();
    let given = policy.rules.as_ref().map_or(&[][..], |rules| &rules.items);
    if let Some(rules) = &policy.rules
        && given.is_empty()
    {
        let message = "is empty, so every operation would be denied; write a rule, such as \
                       { name: all, allow: all }";
        problems.error(&rules.at, message);
    }
    let uploads = policy.uploads.as_ref().map_or(&[][..], |uploads| &uploads.items);
    refuse_same_names(given.iter().map(|rule| &rule.name), problems);
    refuse_same_names(uploads.iter().map(|entry| &entry.name), problems);
    let names = given.iter().map(|it| &it.name).chain(uploads.iter().map(|it| &it.name));
    for leaf in names.flatten() {
        if leaf.value.as_ref().is_some_and(|name| name.0 == policy::DEFAULT) {
            let message = "\"default\" is the name of what no rule allows; choose another name";
            problems.error(&leaf.at, message);
        }
    }
    let compiled: Vec<_> = given.iter().map(|rule| compile_rule(file, rule, problems)).collect();
    let rules: Option<Vec<_>> = compiled.into_iter().collect();
    let uploads: Vec<_> =
        uploads.iter().map(|entry| compile_upload(file, entry, problems)).collect();
    let (rules, uploads) = (rules?, uploads.into_iter().collect::<Option<Vec<_>>>()?);
    reach::warn(given, &rules, problems);
    anonymous::warn(file, (!dry_run).then_some((given, &rules)), problems);
    let at = policy.at.clone();
    RuleSet::new(rules, uploads, dry_run).map_err(|e| problems.error(&at, e.to_string())).ok()
}

fn compile_rule(file: &File, rule: &schema::Rule, problems: &mut Problems) -> Option<Rule> {
    let decides = verdict(rule, problems);
    let message = value(&rule.message).map(|text| text.0.clone());
    if let Some(leaf) = &rule.message
        && rule.deny.is_none()
    {
        problems.error(&leaf.at, "has a meaning only with `deny`");
    }
    let scope = scope(file, rule.r#match.as_ref(), problems);
    let (verdict, words) = decides?;
    let (effects, commands) = operations(words);
    let verdict = match verdict {
        Verdict::Deny { .. } => Verdict::Deny { message },
        verdict => verdict,
    };
    refuse_unknown(file, words, problems);
    check_commands(rule, words, &verdict, effects, problems);
    Some(Rule {
        name: value(&rule.name)?.0.as_str().into(),
        scope: scope?,
        effects,
        commands,
        verdict,
        dry_run: value(&rule.dry_run).copied().unwrap_or_default(),
    })
}

fn verdict<'a>(
    rule: &'a schema::Rule,
    problems: &mut Problems,
) -> Option<(Verdict, &'a OneOrMore<OperationWord>)> {
    let given = [
        (Verdict::Allow, &rule.allow),
        (Verdict::Deny { message: None }, &rule.deny),
        (Verdict::Hide, &rule.hide),
    ];
    let mut given = given.into_iter().filter_map(|(verdict, list)| Some((verdict, list.as_ref()?)));
    let first = given.next();
    if first.is_none() {
        problems.error(&rule.at, "decides nothing: write allow, deny or hide, with operations");
    }
    if let Some((_, second)) = given.next() {
        problems.error(&second.at, "a rule has one of allow, deny and hide; write a second rule");
    }
    first
}

fn operations(words: &OneOrMore<OperationWord>) -> (Effects, Vec<String>) {
    let (mut effects, mut commands) = (Effects::default(), Vec::new());
    for (_, word) in words.values() {
        match word {
            OperationWord::All => effects = Effects::all(),
            OperationWord::Effect(effect) => effects.insert(*effect),
            OperationWord::Command(command) | OperationWord::OtherCommand(command) => {
                commands.push(command.clone());
            }
        }
    }
    (effects, commands)
}

/// Commands that the gateway does not know are relayed to opaque servers only.
fn refuse_unknown(file: &File, words: &OneOrMore<OperationWord>, problems: &mut Problems) {
    if opaque::is_used(file) {
        return;
    }
    for (at, word) in words.values() {
        if let OperationWord::OtherCommand(command) = word {
            let Invalid { message, suggestion } = OperationWord::unknown(command);
            problems.error_with_suggestion(at, message, suggestion);
        }
    }
}

/// A command is decided before its path is known.
fn check_commands(
    rule: &schema::Rule,
    words: &OneOrMore<OperationWord>,
    verdict: &Verdict,
    effects: Effects,
    problems: &mut Problems,
) {
    let is_command = |word: &OperationWord| {
        matches!(word, OperationWord::Command(_) | OperationWord::OtherCommand(_))
    };
    let Some((at, _)) = words.values().find(|(_, word)| is_command(word)) else { return };
    if !effects.is_empty() {
        problems.error(at, "is an FTP command; write a rule for commands and one for operations");
    }
    if *verdict == Verdict::Hide {
        problems.error(at, "is an FTP command, which cannot be hidden; write deny");
    }
    if let Some(given) = &rule.r#match
        && let Some(at) = given
            .paths
            .as_ref()
            .map(|it| &it.at)
            .or_else(|| given.extensions.as_ref().map(|it| &it.at))
    {
        let message = "has no effect on FTP commands, which are decided without their path; name \
                       operations (create, delete, ...) instead";
        problems.error(at, message);
    }
}

fn compile_upload(
    file: &File,
    entry: &schema::Uploads,
    problems: &mut Problems,
) -> Option<UploadRule> {
    let scope = scope(file, entry.r#match.as_ref(), problems);
    let write_once = value(&entry.write_once).copied().unwrap_or_default();
    let has_condition =
        entry.allowed_names.is_some() || entry.denied_names.is_some() || entry.max_size.is_some();
    if !has_condition && !write_once {
        let message = "has no effect: write allowed_names, denied_names, max_size or write_once";
        problems.error(&entry.at, message);
    }
    if let Some(leaf) = &entry.max_size
        && leaf.value.is_some_and(|size| size.0 == 0)
    {
        problems.error(&leaf.at, "must be more than 0; a rule with `deny` refuses every upload");
    }
    Some(UploadRule {
        name: value(&entry.name)?.0.as_str().into(),
        scope: scope?,
        allowed_names: globs(&entry.allowed_names, |name| &name.0, problems),
        denied_names: globs(&entry.denied_names, |name| &name.0, problems),
        max_size: value(&entry.max_size).map(|size| size.0),
        write_once,
    })
}

fn scope(file: &File, given: Option<&schema::RuleMatch>, problems: &mut Problems) -> Option<Scope> {
    given.map_or_else(|| Some(Scope::default()), |given| conditions::scope(file, given, problems))
}

pub(super) fn refuse_same_names<'a>(
    names: impl Iterator<Item = &'a Option<Leaf<Text>>>,
    problems: &mut Problems,
) {
    let mut seen: Vec<(&str, &Location)> = Vec::new();
    for leaf in names.flatten() {
        let Some(name) = leaf.value.as_ref() else { continue };
        match seen.iter().find(|(earlier, _)| *earlier == name.0) {
            Some((_, first)) => {
                let message =
                    format!("\"{}\" is already the name of line {}", name.0, first.mark.line);
                problems.error(&leaf.at, message);
            }
            None => seen.push((&name.0, &leaf.at)),
        }
    }
}
