"""Records → plotly figures; the only place that knows plotly."""

from trtlab.views.figures.charts import Quantity as Quantity
from trtlab.views.figures.charts import curves as curves
from trtlab.views.figures.charts import figure as figure
from trtlab.views.figures.charts import gap_share as gap_share
from trtlab.views.figures.charts import plotly_js as plotly_js
from trtlab.views.figures.of_curves import CurveMarks as CurveMarks
from trtlab.views.figures.of_precision import on_speed_curve as on_speed_curve
