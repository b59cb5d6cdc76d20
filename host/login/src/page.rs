//! What people see: the form, who is signed in, and what went wrong. No scripts, nothing from elsewhere.

use std::fmt::Write as _;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem;color:#222}\
    label{display:block;margin:.8rem 0}input{display:block;width:100%;padding:.5rem;font:inherit;box-sizing:border-box}\
    button{padding:.5rem 1rem;font:inherit}th{text-align:left;padding-right:1rem}";

/// The form for name and password.
pub(crate) fn form(root: &str) -> String {
    let root = escape(root);
    page(
        "Sign in",
        &format!(
            "<form method=\"post\" action=\"{root}/login\">\
             <label>Username<input name=\"username\" autocomplete=\"username\" required></label>\
             <label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>\
             <button>Sign in</button></form>\
             <p>By default the username is <code>admin</code> and the password is the master key. \
             <code>UI_USERNAME</code> and <code>UI_PASSWORD</code> change both.</p>"
        ),
    )
}

/// Who is signed in.
pub(crate) fn signed_in(root: &str, facts: &[(&str, &str)]) -> String {
    let root = escape(root);
    page(
        "Signed in",
        &format!(
            "{}<p>This release of Witgate has no admin UI yet: everything is in the configuration.</p>\
             <form method=\"post\" action=\"{root}/ui/logout\"><button>Sign out</button></form>",
            table(facts)
        ),
    )
}

/// Nobody is signed in.
pub(crate) fn signed_out(root: &str) -> String {
    let root = escape(root);
    page(
        "Signed out",
        &format!("<p>You are not signed in. <a href=\"{root}/sso/key/generate\">Sign in</a></p>"),
    )
}

/// What the identity provider says, for whoever sets it up.
pub(crate) fn debug(facts: &[(&str, &str)]) -> String {
    let note = "<p>Nobody was signed in. <code>ENABLE_SSO_DEBUG</code> shows this page; turn it off again.</p>";
    page("What the identity provider says", &(table(facts) + note))
}

/// A text of its own.
pub(crate) fn message(title: &str, text: &str) -> String {
    page(title, &format!("<p>{}</p>", escape(text)))
}

fn table(facts: &[(&str, &str)]) -> String {
    let mut rows = String::new();
    for (name, value) in facts {
        // Writing into a String does not fail.
        let _ = write!(
            rows,
            "<tr><th>{}</th><td>{}</td></tr>",
            escape(name),
            escape(value)
        );
    }
    format!("<table>{rows}</table>")
}

fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · Witgate</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    )
}

/// Text that is only text, wherever it stands.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
