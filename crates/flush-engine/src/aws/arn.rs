//! Streams identified by their ARN.

/// The prefix of an ARN. Stream names have no colon.
const SCHEME: &str = "arn:";

/// Partitions other than `aws`, each with the prefix of its region names.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
];

/// Whether this is meant to be an ARN.
pub(super) fn is_arn(stream: &str) -> bool {
    stream.starts_with(SCHEME)
}

/// The stream name in an ARN of this service and this region.
///
/// `arn:<partition>:<service>:<region>:<account>:stream/<name>`
pub(super) fn stream_name<'a>(
    arn: &'a str,
    service: &str,
    region: &str,
) -> Result<&'a str, String> {
    let shape = || format!("arn:aws:{service}:{region}:<account>:stream/<name>");
    let malformed = || format!("the ARN is not one of a stream: it looks like {}", shape());
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", partition, of_service, of_region, account, resource] = parts[..] else {
        return Err(malformed());
    };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let name = resource.strip_prefix("stream/");
    let (true, true, Some(name)) = (of_service == service, is_account, name) else {
        return Err(malformed());
    };
    if of_region != region {
        return Err(format!(
            "the ARN is in another region than the client, which sends to {region}"
        ));
    }
    let expected = partition_of(region);
    if partition != expected {
        return Err(format!(
            "the ARN is in another partition than its region, which is in {expected}"
        ));
    }
    Ok(name)
}

fn partition_of(region: &str) -> &'static str {
    let mut partitions = PARTITIONS.into_iter();
    let found = partitions.find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_a_stream_has_its_name() {
        for (region, partition) in [
            ("eu-west-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            let arn = format!("arn:{partition}:kinesis:{region}:123456789012:stream/my.stream_1-x");
            assert!(is_arn(&arn));
            assert_eq!(stream_name(&arn, "kinesis", region), Ok("my.stream_1-x"));
        }
        assert!(!is_arn("my-stream"));
    }

    #[test]
    fn what_is_not_such_an_arn_is_refused_with_what_is_wrong() {
        for (arn, problem) in [
            ("arn:", "not one of a stream"),
            ("arn:aws:kinesis", "not one of a stream"),
            (
                "arn:aws:firehose:eu-west-1:123456789012:stream/s",
                "not one",
            ),
            ("arn:aws:kinesis:eu-west-1:12345678901:stream/s", "not one"),
            ("arn:aws:kinesis:eu-west-1:12345678901x:stream/s", "not one"),
            ("arn:aws:kinesis:eu-west-1::stream/s", "not one of a stream"),
            ("arn:aws:kinesis:eu-west-1:123456789012:s", "not one"),
            ("arn:aws:kinesis:eu-west-1:123456789012:table/s", "not one"),
            ("ARN:aws:kinesis:eu-west-1:123456789012:stream/s", "not one"),
            ("arn:aws:kinesis:us-east-1:123456789012:stream/s", "region"),
            ("arn:aws:kinesis::123456789012:stream/s", "region"),
            (
                "arn:aws-cn:kinesis:eu-west-1:123456789012:stream/s",
                "partition",
            ),
            ("arn::kinesis:eu-west-1:123456789012:stream/s", "partition"),
        ] {
            let refused = stream_name(arn, "kinesis", "eu-west-1").unwrap_err();
            assert!(refused.contains(problem), "{arn}: {refused}");
        }
    }
}
