// Prints `N passed, N failed, N skipped` from the test report; exits 1 when something failed, was skipped, or nothing ran.
import { readFileSync } from 'node:fs';

let report = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, success: false };
try {
  report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
} catch (error) {
  process.stderr.write(`no test report: ${error.message}\n`);
}
const skipped = report.numPendingTests + report.numTodoTests;
const failed = report.numFailedTests + (report.success || report.numFailedTests > 0 ? 0 : 1);
process.stdout.write(`${report.numPassedTests} passed, ${failed} failed, ${skipped} skipped\n`);
process.exitCode = failed === 0 && skipped === 0 && report.numPassedTests > 0 ? 0 : 1;
