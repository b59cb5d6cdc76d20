//! The rule pack: tokens that say by their first characters what they are.
//!
//! Data only, one line per form, put in order of the prefix; where one prefix begins another the longer comes first.
//! The lengths of the tails are those the vendors document, or a little wider where they do not.

/// The characters a tail may have, as bits of [`CLASSES`](crate::scan::CLASSES).
pub mod tail {
    /// `0-9`
    pub const DIGIT: u16 = 1;
    /// `a-f`
    pub const HEX_LETTER: u16 = 1 << 1;
    /// `g-z`
    pub const LOWER_REST: u16 = 1 << 2;
    /// `A-Z`
    pub const UPPER: u16 = 1 << 3;
    /// `_`
    pub const UNDERSCORE: u16 = 1 << 4;
    /// `-`
    pub const DASH: u16 = 1 << 5;
    /// `.`
    pub const DOT: u16 = 1 << 6;
    /// `+` and `/`
    pub const PLUS_SLASH: u16 = 1 << 7;
    /// `=`
    pub const EQUALS: u16 = 1 << 8;

    /// `0-9a-f`
    pub const HEX: u16 = DIGIT | HEX_LETTER;
    /// `0-9A-Z`
    pub const UP: u16 = DIGIT | UPPER;
    /// `0-9a-z`
    pub const LOW: u16 = HEX | LOWER_REST;
    /// `0-9A-Za-z`
    pub const ALNUM: u16 = LOW | UPPER;
    /// `0-9A-Za-z_`
    pub const WORD: u16 = ALNUM | UNDERSCORE;
    /// `0-9A-Za-z_-`, the URL-safe base64 alphabet.
    pub const URL: u16 = WORD | DASH;
    /// `0-9A-Za-z+/=`
    pub const B64: u16 = ALNUM | PLUS_SLASH | EQUALS;
    /// All of these.
    pub const ANY: u16 = URL | B64 | DOT;
}

use tail::{ALNUM, ANY, B64, DASH, DOT, HEX, LOW, UP, URL, WORD};

/// One form of token: a prefix, and a tail of so many characters of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What begins the token.
    pub prefix: &'static str,
    /// Characters of the tail.
    pub tail: u16,
    /// Least length of the tail.
    pub min: usize,
    /// Greatest length of the tail; what goes on longer is something else.
    pub max: usize,
    /// LiteLLM's detector, in lower case and without `Detector`.
    pub detector: &'static str,
    /// What it is, for findings.
    pub kind: &'static str,
}

const fn rule(
    prefix: &'static str,
    tail: u16,
    min: usize,
    max: usize,
    detector: &'static str,
    kind: &'static str,
) -> Rule {
    Rule {
        prefix,
        tail,
        min,
        max,
        detector,
        kind,
    }
}

/// The rules, in order of the prefix's first byte.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule("ABIA", UP, 16, 16, "awskey", "aws_access_key"),
    rule("AC", HEX, 32, 32, "twiliokey", "twilio_account_sid"),
    rule("ACCA", UP, 16, 16, "awskey", "aws_access_key"),
    rule("AGE-SECRET-KEY-1", UP, 58, 58, "agesecretkey", "age_secret_key"),
    rule("AIza", URL, 35, 35, "gcpapikey", "google_api_key"),
    rule("AKCp", ALNUM, 30, 120, "artifactory", "artifactory_token"),
    rule("AKIA", UP, 16, 16, "awskey", "aws_access_key"),
    rule("AQVN", URL, 35, 38, "yandex", "yandex_api_key"),
    rule("ASIA", UP, 16, 16, "awskey", "aws_access_key"),
    rule("ATATT3", ANY, 100, 250, "jira", "atlassian_token"),
    rule("ATCTT3", ANY, 100, 250, "jira", "atlassian_token"),
    rule("CCIPAT_", WORD, 40, 90, "circleci", "circleci_token"),
    rule("CFPAT-", URL, 43, 43, "contentfulapitoken", "contentful_token"),
    rule("CLOJARS_", ALNUM, 60, 60, "clojarsapitoken", "clojars_token"),
    rule("EAAA", URL, 60, 60, "squareoauth", "square_access_token"),
    rule("EZAK", ALNUM, 54, 54, "easypostapitoken", "easypost_token"),
    rule("EZTK", ALNUM, 54, 54, "easypostapitoken", "easypost_token"),
    rule("FLWSECK-", LOW | DASH, 32, 60, "flutterwave", "flutterwave_key"),
    rule("FLWSECK_TEST-", LOW | DASH, 12, 60, "flutterwave", "flutterwave_key"),
    rule("GOCSPX-", URL, 28, 28, "gcpapikey", "google_oauth_secret"),
    rule("HRKU-", URL, 36, 64, "heroku", "heroku_api_key"),
    rule("LTAI", ALNUM, 17, 21, "alibaba", "alibaba_access_key"),
    rule("NRAK-", UP, 27, 27, "newrelic", "new_relic_key"),
    rule("NRII-", URL, 32, 32, "newrelic", "new_relic_key"),
    rule("NRJS-", HEX, 19, 19, "newrelic", "new_relic_key"),
    rule("PMAK-", HEX | DASH, 59, 59, "postmanapitoken", "postman_api_key"),
    rule("SG.", URL | DOT, 66, 66, "sendgridapitoken", "sendgrid_token"),
    rule("SK", HEX, 32, 32, "twiliokey", "twilio_api_key"),
    rule("aio_", ALNUM, 28, 28, "adafruitkey", "adafruit_key"),
    rule("api_org_", ALNUM, 34, 34, "huggingface", "hugging_face_token"),
    rule("bkua_", HEX, 40, 40, "buildkite", "buildkite_token"),
    rule("cmVmdGtu", ALNUM, 56, 56, "artifactory", "artifactory_token"),
    rule("dapi", HEX, 32, 32, "databricksapitoken", "databricks_token"),
    rule("dckr_oat_", URL, 27, 40, "docker", "docker_token"),
    rule("dckr_pat_", URL, 27, 40, "docker", "docker_token"),
    rule("doo_v1_", HEX, 64, 64, "digitaloceanoauth", "digitalocean_token"),
    rule("dop_v1_", HEX, 64, 64, "digitaloceanpat", "digitalocean_token"),
    rule("dor_v1_", HEX, 64, 64, "digitaloceanrefreshtoken", "digitalocean_token"),
    rule("dp.pt.", ALNUM, 43, 43, "dopplerapitoken", "doppler_token"),
    rule("dp.st.", ALNUM | DOT, 40, 80, "dopplerapitoken", "doppler_token"),
    rule("dt0c01.", UP | DOT, 89, 89, "dynatraceapitoken", "dynatrace_token"),
    rule("duffel_live_", ANY, 43, 43, "duffelapitoken", "duffel_token"),
    rule("duffel_test_", ANY, 43, 43, "duffelapitoken", "duffel_token"),
    rule("eyJrIjoi", B64, 70, 400, "grafana", "grafana_api_key"),
    rule("figd_", URL, 40, 50, "figma", "figma_token"),
    rule("fio-u-", URL | B64, 64, 64, "frameioapitoken", "frameio_token"),
    rule("ghp_", ALNUM, 36, 255, "githubtokencustom", "github_token"),
    rule("gho_", ALNUM, 36, 255, "githubtokencustom", "github_token"),
    rule("ghu_", ALNUM, 36, 255, "githubtokencustom", "github_token"),
    rule("ghs_", ALNUM, 36, 255, "githubtokencustom", "github_token"),
    rule("ghr_", ALNUM, 36, 255, "githubtokencustom", "github_token"),
    rule("github_pat_", WORD, 22, 255, "githubtokencustom", "github_token"),
    rule("glc_", B64, 32, 400, "grafana", "grafana_token"),
    rule("glcbt-", URL, 20, 64, "gitlab", "gitlab_token"),
    rule("gldt-", URL, 20, 64, "gitlab", "gitlab_token"),
    rule("glft-", URL, 20, 64, "gitlab", "gitlab_token"),
    rule("glpat-", URL | DOT, 20, 64, "gitlab", "gitlab_token"),
    rule("glptt-", URL, 20, 64, "gitlab", "gitlab_token"),
    rule("glrt-", URL, 20, 64, "gitlab", "gitlab_token"),
    rule("glsa_", WORD, 41, 41, "grafana", "grafana_token"),
    rule("gsk_", ALNUM, 40, 60, "groq", "groq_api_key"),
    rule("hf_", ALNUM, 30, 40, "huggingface", "hugging_face_token"),
    rule("hvb.", URL, 24, 300, "vault", "vault_token"),
    rule("hvr.", URL, 24, 300, "vault", "vault_token"),
    rule("hvs.", URL, 24, 300, "vault", "vault_token"),
    rule("key-", HEX, 32, 32, "mailgun", "mailgun_key"),
    rule("lin_api_", ALNUM, 40, 40, "linear", "linear_token"),
    rule("lin_oauth_", HEX, 64, 64, "linear", "linear_token"),
    rule("npm_", ALNUM, 36, 36, "npm", "npm_token"),
    rule("ntn_", ALNUM, 40, 50, "notion", "notion_token"),
    rule("pat", ALNUM | DOT, 79, 79, "airtable", "airtable_token"),
    rule("pk.eyJ", URL | DOT, 50, 300, "mapbox", "mapbox_token"),
    rule("pnu_", ALNUM, 36, 36, "prefectapitoken", "prefect_token"),
    rule("pplx-", ALNUM, 40, 60, "perplexity", "perplexity_api_key"),
    rule("pscale_oauth_", ANY, 32, 64, "planetscale", "planetscale_token"),
    rule("pscale_pw_", ANY, 32, 64, "planetscale", "planetscale_password"),
    rule("pscale_tkn_", ANY, 32, 64, "planetscale", "planetscale_token"),
    rule("pul-", HEX, 40, 40, "pulumiapitoken", "pulumi_token"),
    rule("pypi-", URL, 50, 500, "pypiuploadtoken", "pypi_token"),
    rule("r8_", ALNUM, 37, 37, "replicate", "replicate_token"),
    rule("rdme_", LOW, 70, 70, "readmeapitoken", "readme_token"),
    rule("rk_live_", ALNUM, 16, 255, "stripe", "stripe_key"),
    rule("rk_test_", ALNUM, 16, 255, "stripe", "stripe_key"),
    rule("rubygems_", HEX, 48, 48, "rubygemsapitoken", "rubygems_token"),
    rule("s-s4t2ud-", HEX, 64, 64, "intra42", "intra42_secret"),
    rule("sbp_", HEX, 40, 40, "supabase", "supabase_token"),
    rule("secret_", ALNUM, 43, 43, "notion", "notion_token"),
    rule("sgp_", HEX | tail::UNDERSCORE, 40, 70, "sourcegraph", "sourcegraph_token"),
    rule("shippo_live_", HEX, 40, 40, "shippoapitoken", "shippo_token"),
    rule("shippo_test_", HEX, 40, 40, "shippoapitoken", "shippo_token"),
    rule("shpat_", ALNUM, 32, 32, "shopify", "shopify_token"),
    rule("shpca_", ALNUM, 32, 32, "shopify", "shopify_token"),
    rule("shppa_", ALNUM, 32, 32, "shopify", "shopify_token"),
    rule("shpss_", ALNUM, 32, 32, "shopify", "shopify_token"),
    rule("sk-", URL, 20, 255, "openaiapikey", "openai_api_key"),
    rule("sk.eyJ", URL | DOT, 50, 300, "mapbox", "mapbox_token"),
    rule("sk_live_", ALNUM, 16, 255, "stripe", "stripe_key"),
    rule("sk_test_", ALNUM, 16, 255, "stripe", "stripe_key"),
    rule("sntrys_", WORD | B64, 40, 400, "sentry", "sentry_token"),
    rule("sntryu_", HEX, 64, 64, "sentry", "sentry_token"),
    rule("sq0atp-", URL, 22, 60, "squareoauth", "square_token"),
    rule("sq0csp-", URL, 43, 60, "squareoauth", "square_secret"),
    rule("sqa_", HEX, 40, 40, "sonarqube", "sonarqube_token"),
    rule("sqp_", HEX, 40, 40, "sonarqube", "sonarqube_token"),
    rule("squ_", HEX, 40, 40, "sonarqube", "sonarqube_token"),
    rule("tfp_", ANY, 59, 59, "typeformapitoken", "typeform_token"),
    rule("tskey-", URL, 20, 80, "tailscale", "tailscale_key"),
    rule("u-s4t2ud-", HEX, 64, 64, "intra42", "intra42_secret"),
    rule("xai-", ALNUM, 70, 90, "xai", "xai_api_key"),
    rule("xapp-", ALNUM | DASH, 20, 250, "slack", "slack_token"),
    rule("xkeysib-", LOW | DASH, 81, 81, "sendinblueapitoken", "sendinblue_token"),
    rule("xoxa-", ALNUM | DASH, 10, 250, "slack", "slack_token"),
    rule("xoxb-", ALNUM | DASH, 10, 250, "slack", "slack_token"),
    rule("xoxe-", ALNUM | DASH, 10, 250, "slack", "slack_token"),
    rule("xoxp-", ALNUM | DASH, 10, 250, "slack", "slack_token"),
    rule("xoxr-", ALNUM | DASH, 10, 250, "slack", "slack_token"),
    rule("xoxs-", ALNUM | DASH, 10, 250, "slack", "slack_token"),
    rule("ya29.", URL, 20, 500, "gcpapikey", "google_oauth_token"),
];

/// First and one past the last rule for each first byte.
pub(crate) const BY_FIRST_BYTE: [(u8, u8); 128] = by_first_byte();

/// Bits of the rules of a detector; 0 when there are none. LiteLLM's names have `key`, `token` and the like
/// here but not there, so a name that begins the other will do.
pub(crate) fn of_detector(plain_name: &str) -> u128 {
    RULES
        .iter()
        .enumerate()
        .filter(|(_, rule)| {
            rule.detector.starts_with(plain_name) || plain_name.starts_with(rule.detector)
        })
        .fold(0, |bits, (index, _)| bits | 1 << index)
}

const fn by_first_byte() -> [(u8, u8); 128] {
    assert!(RULES.len() <= 128, "the rules' bits fit in a u128");
    let mut table = [(0, 0); 128];
    let mut index = 0;
    while index < RULES.len() {
        let first = RULES[index].prefix.as_bytes()[0] as usize;
        if table[first].1 == 0 {
            table[first].0 = index as u8;
        } else {
            assert!(
                table[first].1 as usize == index,
                "the rules are in order of the first byte"
            );
        }
        table[first].1 = index as u8 + 1;
        index += 1;
    }
    table
}
