// The worker in which chat templates run: it does that alone, so that it can be ended at any time.

import { serve } from "./calls.js";
import { render } from "./render.js";

serve({ ready: () => true, render: (source, variables) => render(source, variables) });
