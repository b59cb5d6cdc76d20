//! Files of the pages, out of the binary. `host/server/assets/README.md` says where they are from.
//!
//! They lie there compressed and go out so to whoever takes gzip, which every browser does.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use witgate_pipeline::Reply;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Name, media type, gzip.
const FILES: [(&str, &str, &[u8]); 3] = [
    (
        "swagger-ui-bundle.js",
        JAVASCRIPT,
        include_bytes!("../../../assets/swagger-ui-bundle.js.gz"),
    ),
    (
        "swagger-ui.css",
        CSS,
        include_bytes!("../../../assets/swagger-ui.css.gz"),
    ),
    (
        "redoc.standalone.js",
        JAVASCRIPT,
        include_bytes!("../../../assets/redoc.standalone.js.gz"),
    ),
];

/// Starts the page that its element `docs` is on. A file of its own, because the policy allows no scripts within pages.
const START: &str = r#""use strict";
const docs = document.getElementById("docs");
const url = docs.dataset.document;
if (window.SwaggerUIBundle) {
  window.SwaggerUIBundle({ url, domNode: docs, deepLinking: true, validatorUrl: null });
} else {
  window.Redoc.init(url, { expandResponses: "200" }, docs);
}
"#;

/// A file, when there is one of this name.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Option<Reply> {
    let mut reply = match name {
        "start.js" => Reply::full(StatusCode::OK, JAVASCRIPT, START),
        _ => {
            let (_, media, gzip) = FILES.iter().find(|(own, ..)| *own == name)?;
            match takes_gzip(headers) {
                true => {
                    let mut reply = Reply::full(StatusCode::OK, media, Bytes::from_static(gzip));
                    let encoding = HeaderValue::from_static("gzip");
                    reply.headers.insert(header::CONTENT_ENCODING, encoding);
                    reply
                }
                false => Reply::full(StatusCode::OK, media, plain(gzip)?),
            }
        }
    };
    for (name, value) in [
        (header::VARY, "accept-encoding"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        reply.headers.insert(name, HeaderValue::from_static(value));
    }
    Some(reply)
}

fn plain(gzip: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut plain).ok()?;
    Some(plain)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let offered = headers.get(header::ACCEPT_ENCODING);
    let offered = offered
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    offered.split(',').any(|coding| {
        let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
        coding.trim().eq_ignore_ascii_case("gzip") && weight.trim() != "q=0"
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use witgate_pipeline::ReplyBody;

    use super::*;

    #[test]
    fn files_are_the_released_ones_compressed_or_not() {
        let page = include_str!("../../../assets/README.md");
        for (name, media, gzip) in FILES {
            let released = plain(gzip).unwrap();
            let digest = Sha256::digest(&released);
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(
                page.contains(&digest),
                "{name}: {digest} is not in assets/README.md"
            );
            for (accepts, sent) in [
                ("br, gzip;q=0.8", gzip),
                ("gzip;q=0", &*released),
                ("", &*released),
            ] {
                let mut headers = HeaderMap::new();
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepts));
                let reply = file(name, &headers).unwrap();
                let ReplyBody::Full(body) = reply.body else {
                    panic!("a stream");
                };
                assert!(body == sent, "{name} {accepts}");
                assert_eq!(reply.headers[header::CONTENT_TYPE], media);
                let encoded = reply.headers.contains_key(header::CONTENT_ENCODING);
                assert_eq!(encoded, sent.len() == gzip.len());
            }
        }
        assert!(file("start.js", &HeaderMap::new()).is_some());
        assert!(file("../Cargo.toml", &HeaderMap::new()).is_none());
    }
}
