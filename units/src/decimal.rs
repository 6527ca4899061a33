//! Decimal numbers read exactly, without floating point.

use crate::Problem;

/// A number that is not negative: `digits / 10^decimals`.
pub(crate) struct Decimal {
    digits: u128,
    decimals: u32,
}

impl Decimal {
    /// Reads the number at the start of `text`; the rest comes back trimmed.
    pub(crate) fn take(text: &str) -> Result<(Self, &str), Problem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Problem::Empty);
        }
        if let Some(number) = text.strip_prefix(['-', '\u{2212}'])
            && number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        {
            return Err(Problem::Negative);
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits_only = |part: &str| !part.is_empty() && !part.contains('.');
        if !digits_only(whole) || !digits_only(fraction) {
            return Err(Problem::NotANumber(text.chars().take(20).collect()));
        }
        Ok((
            Self::join(whole, fraction.trim_end_matches('0'))?,
            rest.trim_start(),
        ))
    }

    fn join(whole: &str, fraction: &str) -> Result<Self, Problem> {
        let digits = format!("{whole}{fraction}")
            .parse()
            .map_err(|_| Problem::TooLarge)?;
        let decimals = u32::try_from(fraction.len()).map_err(|_| Problem::TooLarge)?;
        Ok(Self { digits, decimals })
    }

    /// This many times `multiple`, in whole `smallest`, up to `max`.
    pub(crate) fn times(
        &self,
        multiple: u64,
        max: u64,
        smallest: &'static str,
    ) -> Result<u64, Problem> {
        let product = self
            .digits
            .checked_mul(u128::from(multiple))
            .ok_or(Problem::TooLarge)?;
        let divisor = 10u128
            .checked_pow(self.decimals)
            .ok_or(Problem::TooFine(smallest))?;
        if product % divisor != 0 {
            return Err(Problem::TooFine(smallest));
        }
        match u64::try_from(product / divisor) {
            Ok(amount) if amount <= max => Ok(amount),
            _ => Err(Problem::TooLarge),
        }
    }

    /// The same for amounts that are kept as signed integers.
    pub(crate) fn times_signed(
        &self,
        multiple: u64,
        smallest: &'static str,
    ) -> Result<i64, Problem> {
        let amount = self.times(multiple, i64::MAX.unsigned_abs(), smallest)?;
        i64::try_from(amount).map_err(|_| Problem::TooLarge)
    }
}

/// Writes `amount / 10^decimals`, with at least `shown` decimals and no
/// further trailing zeros.
pub(crate) fn write(
    f: &mut std::fmt::Formatter<'_>,
    amount: i64,
    decimals: u32,
    shown: usize,
) -> std::fmt::Result {
    let unit = 10u64.pow(decimals);
    let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    let width = decimals as usize;
    let mut fraction = format!("{rest:0width$}");
    while fraction.len() > shown && fraction.ends_with('0') {
        fraction.pop();
    }
    let point = if fraction.is_empty() { "" } else { "." };
    f.pad_integral(amount >= 0, "", &format!("{whole}{point}{fraction}"))
}
