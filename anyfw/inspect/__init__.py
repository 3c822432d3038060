"""Looking into nets, and into the machine they run on."""

# Functions bear the names of their files: imported here, eagerly, they and not the modules are what users get.
from anyfw.inspect.bench import bench
from anyfw.inspect.bench_report import Bench
from anyfw.inspect.doctor import Report, doctor
from anyfw.inspect.gradcheck import GradcheckResult, GradcheckRow, gradcheck, gradcheck_loss
from anyfw.inspect.profile import Profile, ProfileRow, profile
from anyfw.inspect.recorder import Step
from anyfw.inspect.summary import Row, Summary, summary
from anyfw.inspect.trace import Trace, demo, trace
from anyfw.inspect.verify import Verification, VerifyRow, verify

__all__ = [
    "Bench",
    "GradcheckResult",
    "GradcheckRow",
    "Profile",
    "ProfileRow",
    "Report",
    "Row",
    "Step",
    "Summary",
    "Trace",
    "Verification",
    "VerifyRow",
    "bench",
    "demo",
    "doctor",
    "gradcheck",
    "gradcheck_loss",
    "profile",
    "summary",
    "trace",
    "verify",
]
