"""What comes out: frozen records. They hold samples and facts; views turn them into pictures.

The *origin* of a number is fixed by its record: ``Measurement`` and ``LayerProfile`` are
measured, ``Plan`` is the builder's own report, costs are estimated. The *source* is ``here`` when
this machine made the record and ``recorded`` when another one did; the store decides on reading.
"""

from trtlab.record.accuracy import Accuracy as Accuracy
from trtlab.record.accuracy import DataRef as DataRef
from trtlab.record.accuracy import LabelMetrics as LabelMetrics
from trtlab.record.accuracy import NodeError as NodeError
from trtlab.record.accuracy import OutputError as OutputError
from trtlab.record.accuracy import Stage as Stage
from trtlab.record.base import SCHEMA_VERSION as SCHEMA_VERSION
from trtlab.record.base import UNKNOWN_RECIPE as UNKNOWN_RECIPE
from trtlab.record.base import Environment as Environment
from trtlab.record.base import Failure as Failure
from trtlab.record.base import ModelRef as ModelRef
from trtlab.record.base import Source as Source
from trtlab.record.bundle import Bundle as Bundle
from trtlab.record.comparison import Comparison as Comparison
from trtlab.record.comparison import Difference as Difference
from trtlab.record.comparison import Verdict as Verdict
from trtlab.record.engines import CHANGED as CHANGED
from trtlab.record.engines import Absence as Absence
from trtlab.record.engines import Alignment as Alignment
from trtlab.record.engines import EngineComparison as EngineComparison
from trtlab.record.engines import Match as Match
from trtlab.record.engines import MatchKind as MatchKind
from trtlab.record.engines import TimeDifference as TimeDifference
from trtlab.record.fusion import Barrier as Barrier
from trtlab.record.fusion import Edge as Edge
from trtlab.record.fusion import Family as Family
from trtlab.record.fusion import Fate as Fate
from trtlab.record.fusion import Fusion as Fusion
from trtlab.record.fusion import Group as Group
from trtlab.record.fusion import Pattern as Pattern
from trtlab.record.fusion import Rule as Rule
from trtlab.record.fusion import Seam as Seam
from trtlab.record.fusion import State as State
from trtlab.record.layers import TIME_WORDS as TIME_WORDS
from trtlab.record.layers import LayerProfile as LayerProfile
from trtlab.record.layers import LayerTiming as LayerTiming
from trtlab.record.layers import Summary as Summary
from trtlab.record.layers import TimeKind as TimeKind
from trtlab.record.measurement import Contents as Contents
from trtlab.record.measurement import DeviceMemory as DeviceMemory
from trtlab.record.measurement import GpuConditions as GpuConditions
from trtlab.record.measurement import HostMemory as HostMemory
from trtlab.record.measurement import Measurement as Measurement
from trtlab.record.measurement import Parts as Parts
from trtlab.record.measurement import Spread as Spread
from trtlab.record.measurement import WarmUp as WarmUp
from trtlab.record.measurement import Window as Window
from trtlab.record.plan import BuilderMemory as BuilderMemory
from trtlab.record.plan import BuilderMessage as BuilderMessage
from trtlab.record.plan import EngineLayer as EngineLayer
from trtlab.record.plan import LayerTensor as LayerTensor
from trtlab.record.plan import Plan as Plan
from trtlab.record.plan import Severity as Severity
from trtlab.record.run import Run as Run
from trtlab.record.run import RunLine as RunLine
from trtlab.record.sweep import Point as Point
from trtlab.record.sweep import SweepResult as SweepResult
from trtlab.record.workspace import WorkspaceCurve as WorkspaceCurve
from trtlab.record.workspace import WorkspacePoint as WorkspacePoint
