//! Recognizes AWS's own endpoints.

/// The suffixes of AWS host names, in all partitions.
const SUFFIXES: [&str; 14] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.hci.ic.gov",
];

/// Whether a URL points to an AWS host.
pub(super) fn is_of_aws(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_scheme, rest)| rest);
    let authority = authority
        .split(['/', '?', '#', '\\'])
        .next()
        .unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _port)| host);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    SUFFIXES.iter().any(|suffix| {
        let before = host.strip_suffix(suffix);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_aws_are_known_in_every_partition() {
        for url in [
            "https://kinesis.us-east-1.amazonaws.com",
            "https://kinesis-fips.us-gov-west-1.amazonaws.com/",
            "https://123456789012.data-kinesis.eu-west-1.amazonaws.com",
            "https://kinesis.eu-west-1.api.aws",
            "https://kinesis.cn-north-1.amazonaws.com.cn",
            "https://kinesis.cn-north-1.api.amazonwebservices.com.cn",
            "https://kinesis.eusc-de-east-1.amazonaws.eu",
            "https://kinesis.us-iso-east-1.c2s.ic.gov",
            "https://vpce-0a1b.kinesis.us-east-1.vpce.amazonaws.com:443/x?y#z",
            "HTTPS://KINESIS.US-EAST-1.AMAZONAWS.COM.",
        ] {
            assert!(is_of_aws(url), "{url}");
        }
    }

    #[test]
    fn every_other_host_is_not() {
        for url in [
            "",
            "http://localhost:4566",
            "http://127.0.0.1:4566/amazonaws.com",
            "http://localhost.localstack.cloud:4566",
            "https://notamazonaws.com",
            "https://amazonaws.com.example.org",
            "https://kinesis.us-east-1.amazonaws.com@example.org/",
            "https://example.org?amazonaws.com",
            "https://example.org\\.amazonaws.com",
            "http://[::1]:4566",
        ] {
            assert!(!is_of_aws(url), "{url}");
        }
    }
}
