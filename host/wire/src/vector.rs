//! Embeddings as vectors: how like two of them are.

/// The vector at length one, so that the likeness of two is their [`product`]; `None` for one without a
/// length.
pub fn unit(vector: &[f32]) -> Option<Box<[f32]>> {
    let length = vector
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt();
    let scaled = |x: &f32| (f64::from(*x) / length) as f32;
    (length.is_finite() && length > 0.0).then(|| vector.iter().map(scaled).collect())
}

/// Of two vectors of length one the cosine of the angle between them; 1 is the same.
pub fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeness_does_not_depend_on_length() {
        let (a, b) = (unit(&[3.0, 4.0]).unwrap(), unit(&[30.0, 40.0]).unwrap());
        assert!((product(&a, &b) - 1.0).abs() < 1e-6);
        let across = unit(&[-4.0, 3.0]).unwrap();
        assert!(product(&a, &across).abs() < 1e-6);
        for none in [&[0.0, 0.0][..], &[f32::NAN], &[f32::INFINITY], &[]] {
            assert_eq!(unit(none), None, "{none:?}");
        }
    }
}
