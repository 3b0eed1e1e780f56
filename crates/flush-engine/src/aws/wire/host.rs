//! Recognizes AWS's own endpoints of a service.

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

/// Whether a URL points to AWS's own endpoint of Kinesis. Customers' machines and load balancers have
/// names of AWS, too, but none of the service.
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
        let before = before.and_then(|before| before.strip_suffix('.'));
        before.is_some_and(|before| before.split('.').any(names_service))
    })
}

/// Whether a part of a host name is that of the service: `kinesis`, `kinesis-fips`, or for the
/// endpoints of accounts `data-kinesis` and `control-kinesis`, also with `-fips`.
fn names_service(label: &str) -> bool {
    let label = label.strip_suffix("-fips").unwrap_or(label);
    ["kinesis", "data-kinesis", "control-kinesis"].contains(&label)
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
            "https://123456789012.data-kinesis-fips.us-east-1.api.aws",
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
            "http://ec2-198-51-100-7.compute-1.amazonaws.com:4567",
            "http://kinesalite-1234.us-east-1.elb.amazonaws.com:4567",
            "http://ip-10-0-0-1.eu-west-1.compute.amazonaws.com.cn:4567",
            "https://amazonaws.com",
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
