//! When a waiting task would start: asked of the follower, and told in words.

use super::super::{ClientApi, PREDICTIONS_MAX};
use crate::convert::status::{driver as unavailable, refusal};
use crate::driver::{PredictError, Predicted};
use jeroboam_core::ids::TaskId;
use jeroboam_proto::v1;
use tonic::{Code, Status};

impl ClientApi {
    /// `None` where the task got its place, or was held, just before.
    pub(super) async fn predicted(&self, task: TaskId) -> Result<Option<v1::Prediction>, Status> {
        let _permit = self.predictions.try_acquire().map_err(|_| {
            let message = format!("{PREDICTIONS_MAX} predictions are being made");
            refusal(
                Code::Unavailable,
                "TOO_MANY_PREDICTIONS",
                message,
                None,
                "try again later, or ask without a prediction",
            )
        })?;
        let predicted = self.driver.predict(task).await.map_err(unavailable)?;
        match predicted {
            Ok(predicted) => Ok(Some(wire(predicted))),
            Err(PredictError::Rejected(_)) => Ok(None),
            Err(error @ (PredictError::Unreadable(_) | PredictError::GivenUp)) => Err(refusal(
                Code::Unavailable,
                "NO_PREDICTION",
                error.to_string(),
                None,
                "try again; without a prediction the task is explained at once",
            )),
        }
    }
}

fn wire(predicted: Predicted) -> v1::Prediction {
    let Predicted { prediction, place } = predicted;
    let (site, node) = place.unwrap_or_default();
    v1::Prediction {
        code: prediction.code().into(),
        text: prediction.text().into(),
        at_ms: prediction.at().0,
        site,
        node,
    }
}
