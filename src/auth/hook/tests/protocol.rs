//! Questions and answers are those of docs/login-hook.schema.json.

use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};

use super::answer::Parsed;
use super::*;

struct Schema {
    schemas: Schemas,
    question: SchemaIndex,
    answer: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/login-hook.schema.json");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        let mut of = |name: &str| {
            let place = format!("{}#/$defs/{name}", path.display());
            compiler.compile(&place, &mut schemas).unwrap()
        };
        let (question, answer) = (of("question"), of("answer"));
        Self { schemas, question, answer }
    }
}

#[test]
fn questions_are_as_the_schema_says() {
    let schema = Schema::new();
    let key = key();
    let base = || question("alice", "s3cret \"ä\"");
    for question in [
        base(),
        Question { certificate: Some(b"DER of it"), protocol: "ftp", encrypted: false, ..base() },
        Question {
            shown: Shown::OfferedKey(&key),
            source: "2001:db8::7".parse().unwrap(),
            ..base()
        },
        Question { shown: Shown::ProvedKey(&key), protocol: "sftp", ..base() },
    ] {
        let text = question.to_json().unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        schema.schemas.validate(&json, schema.question).unwrap();
    }
    let texts = [base(), Question { shown: Shown::OfferedKey(&key), ..base() }]
        .map(|question| String::from_utf8(question.to_json().unwrap().to_vec()).unwrap());
    let rest = "\"source\":\"192.0.2.7\",\"listener\":\"public\",\"protocol\":\"ftps\",\
                \"encrypted\":true,\"backend\":\"files\"}";
    let password = "{\"version\":1,\"stage\":\"login\",\"method\":\"password\",\"user\":\"alice\",\
                    \"password\":\"s3cret \\\"ä\\\"\",";
    let offer = "{\"version\":1,\"stage\":\"offer\",\"method\":\"publickey\",\"user\":\"alice\",\
                 \"public_key\":\"ssh-ed25519 \
                 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\",\
                 \"fingerprint\":\"SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE\",";
    assert_eq!(texts, [password, offer].map(|start| format!("{start}{rest}")));
}

#[test]
fn names_and_passwords_that_json_cannot_carry_are_refused() {
    let long = "x".repeat(513);
    let token = "x".repeat(16 * 1024 + 1);
    let base = || question("alice", "secret");
    for (question, expected) in [
        (Question { user: b"", ..base() }, BadQuestion::UserControl),
        (Question { user: b"al\nice", ..base() }, BadQuestion::UserControl),
        (Question { user: b"alice\0", ..base() }, BadQuestion::UserControl),
        (Question { user: b"al\xefce", ..base() }, BadQuestion::UserNotUtf8),
        (Question { user: long.as_bytes(), ..base() }, BadQuestion::UserTooLong),
        (Question { shown: Shown::Password(b"\xfcber"), ..base() }, BadQuestion::PasswordNotUtf8),
        (
            Question { shown: Shown::Password(token.as_bytes()), ..base() },
            BadQuestion::PasswordTooLong,
        ),
    ] {
        assert_eq!(question.to_json().unwrap_err(), expected);
    }
}

#[test]
fn the_schema_and_the_gateway_accept_the_same_answers() {
    let schema = Schema::new();
    let long = format!("{{\"allow\": true, \"user\": \"{}\"}}", "x".repeat(513));
    let many = format!("{{\"allow\": true, \"groups\": [{}\"last\"]}}", "\"g\",".repeat(1000));
    for (answer, is_valid) in [
        ("{\"allow\": true}", true),
        ("{\"allow\": false}", true),
        ("{\"allow\": false, \"reason\": \"expired\\n\"}", true),
        (
            "{\"allow\": true, \"user\": \"bob\", \"groups\": [\"a\", \"ä\"], \"backend\": \"files\", \
             \"root\": \"/srv/{user}\", \"limits\": {\"sessions\": 1, \"transfers\": 2, \
             \"bandwidth\": 8000, \"upload_bandwidth\": 1099511627776, \"download_bandwidth\": 9000}, \
             \"account\": {\"user\": \"svc\", \"password\": \"p w\"}, \"cache_for\": 86400}",
            true,
        ),
        ("{\"allow\": true, \"groups\": [], \"limits\": {}, \"root\": \"home\"}", true),
        ("{}", false),
        ("[]", false),
        ("true", false),
        ("null", false),
        ("{\"allow\": \"true\"}", false),
        ("{\"allow\": 1}", false),
        ("{\"allow\": null}", false),
        ("{\"allow\": true, \"rooot\": \"/\"}", false),
        ("{\"allow\": true, \"user\": null}", false),
        ("{\"allow\": true, \"user\": \"\"}", false),
        ("{\"allow\": true, \"user\": 7}", false),
        ("{\"allow\": true, \"user\": \"a\\u0000\"}", false),
        ("{\"allow\": true, \"user\": \"a\\nb\"}", false),
        (&long, false),
        ("{\"allow\": true, \"groups\": \"staff\"}", false),
        ("{\"allow\": true, \"groups\": [\"\"]}", false),
        ("{\"allow\": true, \"groups\": [7]}", false),
        ("{\"allow\": true, \"groups\": null}", false),
        (&many, false),
        ("{\"allow\": true, \"backend\": null}", false),
        ("{\"allow\": true, \"root\": null}", false),
        ("{\"allow\": true, \"root\": \"\"}", false),
        ("{\"allow\": true, \"limits\": null}", false),
        ("{\"allow\": true, \"limits\": {\"sessions\": 0}}", false),
        ("{\"allow\": true, \"limits\": {\"sessions\": -1}}", false),
        ("{\"allow\": true, \"limits\": {\"sessions\": null}}", false),
        ("{\"allow\": true, \"limits\": {\"sessions\": 4294967296}}", false),
        ("{\"allow\": true, \"limits\": {\"bandwidth\": 7999}}", false),
        ("{\"allow\": true, \"limits\": {\"bandwidth\": \"1MiB/s\"}}", false),
        ("{\"allow\": true, \"limits\": {\"bandwidth\": 1099511627777}}", false),
        ("{\"allow\": true, \"limits\": {\"files\": 1}}", false),
        ("{\"allow\": true, \"account\": null}", false),
        ("{\"allow\": true, \"account\": {\"user\": \"svc\"}}", false),
        ("{\"allow\": true, \"account\": {\"user\": \"svc\", \"password\": \"\"}}", false),
        (
            "{\"allow\": true, \"account\": {\"user\": \"svc\", \"password\": \"a\\r\\nDELE x\"}}",
            false,
        ),
        ("{\"allow\": true, \"account\": {\"user\": \"a\\r\\nb\", \"password\": \"x\"}}", false),
        ("{\"allow\": true, \"cache_for\": -1}", false),
        ("{\"allow\": true, \"cache_for\": 86401}", false),
        ("{\"allow\": true, \"cache_for\": 1.5}", false),
        // What is refused must be well-formed, too.
        ("{\"allow\": false, \"user\": \"\"}", false),
    ] {
        let json: Value = serde_json::from_str(answer).unwrap();
        let validated = schema.schemas.validate(&json, schema.answer);
        assert_eq!(validated.is_ok(), is_valid, "the schema: {answer}");
        let parsed = Parsed::parse(answer.as_bytes());
        assert_eq!(parsed.is_ok(), is_valid, "the gateway: {answer}");
    }
}

/// It may be a password.
#[test]
fn the_error_does_not_quote_values() {
    for answer in [
        "{\"allow\": true, \"account\": {\"user\": \"svc\", \"password\": 271828}}",
        "{\"allow\": true, \"limits\": \"271828\"}",
        "{\"allow\": true, \"cache_for\": \"271828, expected nothing\"}",
    ] {
        let error = Parsed::parse(answer.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains("271828") && error.contains("expected "), "{error}");
        assert!(error.contains("line 1 column"), "{error}");
    }
    let text = "{\"allow\": true, \"account\": {\"user\": \"svc\", \"password\": \"271828\"}}";
    let parsed = format!("{:?}", Parsed::parse(text.as_bytes()).unwrap());
    assert!(parsed.contains("svc") && !parsed.contains("271828"), "{parsed}");
}

#[tokio::test]
async fn the_request_has_the_token_and_the_question() {
    let mut scripted = Scripted::start(ok("{\"allow\": true}")).await;
    let hook = scripted.hook();
    ask(&hook, &question("alice", "secret")).await.unwrap();
    let (header, body) = scripted.requests.recv().await.unwrap();
    let mut lines = header.lines();
    assert_eq!(lines.next(), Some("POST /login?from=lockgate HTTP/1.1"));
    let host = format!("host: {}", scripted.address);
    let expected = ["authorization: Bearer open-sesame", "content-type: application/json", &host];
    for expected in expected {
        assert!(header.lines().any(|line| line == expected), "{expected}: {header}");
    }
    assert_eq!(body["user"], "alice");
    assert_eq!(body["password"], "secret");
}

#[test]
fn tokens_are_visible_ascii() {
    for token in ["", "a b", "a\nb", "ä", "a\u{7f}"] {
        assert!(Token::new(token).is_err(), "{token:?}");
    }
    assert!(Token::new("abc._~+/-==").is_ok());
}

/// The first two JSON blocks of docs/login-hook.md.
#[test]
fn the_documented_examples_fit_the_schema() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/login-hook.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```").filter_map(|block| block.strip_prefix("json\n"));
    let [question, answer] = blocks.collect::<Vec<_>>()[..] else { panic!("two examples") };
    let schema = Schema::new();
    for (text, kind) in [(question, schema.question), (answer, schema.answer)] {
        let json: Value = serde_json::from_str(text).unwrap();
        schema.schemas.validate(&json, kind).unwrap();
    }
    assert!(matches!(Parsed::parse(answer.as_bytes()), Ok(Parsed::Allowed(_))));
}
