//! Where the API is: Genesys' regions by name or domain, or any base URL.

use url::{Host, Url};

use crate::error::{Error, Result};

/// AWS region and domain of every Genesys Cloud region known to the official SDKs.
const REGIONS: [(&str, &str); 18] = [
    ("us-east-1", "mypurecloud.com"),
    ("us-east-2", "use2.us-gov-pure.cloud"),
    ("us-west-2", "usw2.pure.cloud"),
    ("ca-central-1", "cac1.pure.cloud"),
    ("mx-central-1", "mxc1.pure.cloud"),
    ("sa-east-1", "sae1.pure.cloud"),
    ("eu-west-1", "mypurecloud.ie"),
    ("eu-west-2", "euw2.pure.cloud"),
    ("eu-central-1", "mypurecloud.de"),
    ("eu-central-2", "euc2.pure.cloud"),
    ("eusc-de-east-1", "edee1.eusc-pure.cloud"),
    ("ap-south-1", "aps1.pure.cloud"),
    ("ap-northeast-1", "mypurecloud.jp"),
    ("ap-northeast-2", "apne2.pure.cloud"),
    ("ap-northeast-3", "apne3.pure.cloud"),
    ("ap-southeast-1", "apse1.pure.cloud"),
    ("ap-southeast-2", "mypurecloud.com.au"),
    ("me-central-1", "mec1.pure.cloud"),
];

/// The region when none is named: the one both tutorials use.
pub const DEFAULT_REGION: &str = "us-east-1";

/// Where calls and token requests go. Invariant: both URLs are absolute, `https` (or `http` on purpose), and
/// hold neither credentials nor a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    api_base: Url,
    token_url: Url,
    region: Option<&'static str>,
}

impl Endpoint {
    /// A region by AWS name (`eu-west-1`, also `eu_west_1`) or by domain (`mypurecloud.ie`, with or without
    /// `https://`, `api.` or `login.`); a domain that is not in the list is taken at its word.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is neither.
    pub fn region(name: &str) -> Result<Endpoint> {
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        let bare = name.trim_start_matches("https://").trim_end_matches('/');
        let bare = ["api.", "login.", "apps."].iter().find_map(|p| bare.strip_prefix(p)).unwrap_or(bare);
        match REGIONS.iter().find(|(aws, domain)| *aws == bare || *domain == bare) {
            Some((aws, domain)) => Endpoint::of_domain(domain, Some(aws)),
            None if bare.contains('.') => Endpoint::of_domain(bare, None),
            None => {
                let names: Vec<_> = REGIONS.iter().map(|(aws, _)| *aws).collect();
                Err(Error::usage(format!("`{bare}` is not a Genesys Cloud region"))
                    .hint(format!("use one of {}, a domain such as mypurecloud.com, or --base-url", names.join(", "))))
            }
        }
    }

    /// Any other place that speaks the API; tokens come from `<base>/oauth/token`. Without encryption only on
    /// this machine, unless `allow_http` says that it is meant.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is not such a URL.
    pub fn base_url(base: &str, allow_http: bool) -> Result<Endpoint> {
        let api_base = parse(base, "--base-url", allow_http)?;
        let token_url = join(&api_base, "/oauth/token")?;
        Ok(Endpoint { api_base, token_url, region: None })
    }

    /// The same place with its tokens from another: `url` is the whole token URL.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is not such a URL.
    pub fn with_login_url(self, url: &str, allow_http: bool) -> Result<Endpoint> {
        Ok(Endpoint { token_url: parse(url, "--login-url", allow_http)?, ..self })
    }

    /// Host of the API, without port: what a lake remembers of its source.
    pub fn host(&self) -> &str {
        self.api_base.host_str().unwrap_or_default()
    }

    /// Whether this is Genesys' own API rather than something that speaks like it.
    pub fn is_genesys(&self) -> bool {
        let host = self.host();
        self.region.is_some()
            || [".pure.cloud", ".us-gov-pure.cloud", ".eusc-pure.cloud"].iter().any(|tail| host.ends_with(tail))
            || host.starts_with("api.mypurecloud.")
    }

    /// `us-east-1 (api.mypurecloud.com)`, or the host alone.
    pub fn describe(&self) -> String {
        match self.region {
            Some(region) => format!("{region} ({})", self.host()),
            None => self.host().to_owned(),
        }
    }

    /// Absolute URI of a path under the API's base.
    pub(crate) fn api_uri(&self, path: &str) -> String {
        format!("{}{path}", self.api_base.as_str().trim_end_matches('/'))
    }

    pub(crate) fn token_uri(&self) -> &str {
        self.token_url.as_str()
    }

    /// Whether any call goes unencrypted.
    pub(crate) fn uses_http(&self) -> bool {
        self.api_base.scheme() == "http" || self.token_url.scheme() == "http"
    }

    /// Whether the API is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_loopback(&self.api_base)
    }

    fn of_domain(domain: &str, region: Option<&'static str>) -> Result<Endpoint> {
        let api_base = parse(&format!("https://api.{domain}"), "--region", false)?;
        let token_url = parse(&format!("https://login.{domain}/oauth/token"), "--region", false)?;
        Ok(Endpoint { api_base, token_url, region })
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn join(base: &Url, path: &str) -> Result<Url> {
    let joined = format!("{}{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&joined).map_err(|e| Error::bug("a path does not fit its base URL").source(e))
}

/// The text is not repeated in errors: it may hold credentials, which is one of the reasons to refuse it.
fn parse(text: &str, flag: &str, allow_http: bool) -> Result<Url> {
    let url = Url::parse(text.trim()).map_err(|e| Error::usage(format!("{flag} is not a URL")).source(e))?;
    if !url.has_host() {
        return Err(Error::usage(format!("{flag} names no host")));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(Error::usage(format!("{flag} holds credentials, a query or a fragment"))
            .hint("scheme, host, port and path are enough"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => {
            Err(Error::usage(format!("{flag} is not encrypted: the credentials would cross the network in the clear"))
                .hint("use https"))
        }
        _ => Err(Error::usage(format!("{flag} is neither https nor http"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_is_found_by_name_and_by_domain() {
        for (aws, domain) in REGIONS {
            let by_name = Endpoint::region(aws).unwrap();
            assert_eq!(by_name, Endpoint::region(&format!("https://api.{domain}/")).unwrap());
            assert_eq!(by_name, Endpoint::region(&aws.replace('-', "_")).unwrap());
            assert_eq!(by_name.api_uri("/x"), format!("https://api.{domain}/x"));
            assert_eq!(by_name.token_uri(), format!("https://login.{domain}/oauth/token"));
            assert!(by_name.is_genesys());
        }
        assert_eq!(Endpoint::region(DEFAULT_REGION).unwrap().describe(), "us-east-1 (api.mypurecloud.com)");
    }

    #[test]
    fn a_domain_from_the_future_is_taken_at_its_word() {
        let new = Endpoint::region("afs1.pure.cloud").unwrap();
        assert_eq!((new.host(), new.region, new.is_genesys()), ("api.afs1.pure.cloud", None, true));
        assert!(Endpoint::region("atlantis").unwrap_err().hint_text().unwrap().contains("eu-central-2"));
    }

    #[test]
    fn a_base_url_brings_its_own_login() {
        let local = Endpoint::base_url("http://127.0.0.1:8080/", false).unwrap();
        assert_eq!(local.token_uri(), "http://127.0.0.1:8080/oauth/token");
        assert_eq!(local.api_uri("/api/v2/x"), "http://127.0.0.1:8080/api/v2/x");
        assert_eq!((local.host(), local.is_genesys(), local.is_local()), ("127.0.0.1", false, true));
        let split = Endpoint::base_url("https://gateway.example/genesys", false)
            .unwrap()
            .with_login_url("https://login.example/t", false)
            .unwrap();
        assert_eq!(split.api_uri("/api"), "https://gateway.example/genesys/api");
        assert_eq!(split.token_uri(), "https://login.example/t");
    }

    #[test]
    fn a_dangerous_url_is_refused_unrepeated() {
        for bad in [
            "http://example.com",
            "https://me:hunter2@example.com",
            "https://e.com/?key=hunter2",
            "ftp://e.com",
            "hunter2",
            "file:///x",
        ] {
            let error = Endpoint::base_url(bad, false).unwrap_err();
            assert!(!format!("{error} {:?}", error.hint_text()).contains("hunter2"), "{error}");
        }
        assert!(Endpoint::base_url("http://example.com", true).unwrap().uses_http());
    }
}
