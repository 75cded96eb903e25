//! The status page: one document, with its style and its script, that loads nothing and asks other routes.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::headers::secured;
use super::http::{self, Page};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("format.js"),
    include_str!("dom.js"),
    include_str!("requests.js"),
    include_str!("table.js"),
    include_str!("chart.js"),
    include_str!("ports.js"),
    include_str!("sections.js"),
    include_str!("actions.js"),
    include_str!("page.js"),
);

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| HTML.replace("/* page.css */", STYLE).replace("/* page.js */", SCRIPT));

/// What the browser may load and run: this style and this script, and answers of this address.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src \
         data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for \
         'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

/// The page, which holds no data.
pub(super) fn status_page() -> Page {
    let document = DOCUMENT.as_bytes().to_vec();
    let mut response = secured(http::page(document, "text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        for part in [STYLE, SCRIPT] {
            assert!(DOCUMENT.contains(part) && !part.contains("</"), "it would end its element");
        }
        assert_eq!(DOCUMENT.matches("<style>").count(), 1);
        assert_eq!(DOCUMENT.matches("<script>").count(), 1);
        // Its namespace is a name, not an address.
        let urls = DOCUMENT.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "url(", "@import", " src=", "innerHTML", "style=\""] {
            assert!(!urls.contains(outside), "{outside}");
        }
        assert!(!POLICY.contains("unsafe"), "{}", *POLICY);
    }
}
