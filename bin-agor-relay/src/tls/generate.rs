//! Self-signed certificates for `cert new`.

use agor_common::time;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};

use crate::error::Error;

/// A certificate and its key, both PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

/// A self-signed certificate for `names` (DNS names and addresses), valid from yesterday for `days`. With
/// `key` (PEM) that key is used again.
pub(crate) fn self_signed(names: &[String], days: u32, key: Option<&str>) -> Result<Pair, Error> {
    let fail = |error: rcgen::Error| Error::setup(format!("make a certificate: {error}"), "");
    let key = match key {
        Some(pem) => KeyPair::from_pem(pem).map_err(fail)?,
        None => KeyPair::generate().map_err(fail)?,
    };
    let mut params = CertificateParams::new(names.to_vec()).map_err(fail)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, names.first().map_or("agor-relay", String::as_str));
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let day = 86_400_000i64;
    let (year, month, date_of_month) = date(time::now_ms() - day);
    params.not_before = rcgen::date_time_ymd(year, month, date_of_month);
    let (year, month, date_of_month) = date(time::now_ms() + i64::from(days) * day);
    params.not_after = rcgen::date_time_ymd(year, month, date_of_month);
    let cert = params.self_signed(&key).map_err(fail)?;
    Ok(Pair { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() })
}

/// Year, month and day (UTC) of `ms`.
fn date(ms: i64) -> (i32, u8, u8) {
    let text = time::rfc3339_ms(ms);
    let part = |range: std::ops::Range<usize>| {
        text.get(range).and_then(|part| part.parse::<u16>().ok()).unwrap_or(1)
    };
    let small = |number: u16| u8::try_from(number).unwrap_or(1);
    (i32::from(part(0..4)), small(part(5..7)), small(part(8..10)))
}
