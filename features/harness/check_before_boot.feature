Feature: Mistakes are found before anything starts

  A feature with a mistake in it is answered like a program that does not compile: with the file,
  the line, a caret, and no process started.

  Scenario: A lifecycle step on a borrowed node is refused before the scenario does anything
    When I run the harness on this feature:
      """
      Feature: Hands off
        Scenario: A public node is not ours to stop
          Given external nodes:
            | node     | url                   |
            | PUBLIC_1 | http://10.0.0.9:18080 |
          And a cluster of 3 nodes
          When I stop PUBLIC_1
      """
    Then the exit code is 2
    And it prints "refused to stop PUBLIC_1: it is borrowed"
    And it prints "self.feature:7"
    And it prints "nothing was started"
    And it does not print "pid "

  Scenario: An unknown node name lists the known ones
    When I run the harness on this feature:
      """
      Feature: A slip of the pen
        Scenario: There is no fourth node
          Given a cluster of 3 nodes
          When I kill NODE_4
      """
    Then the exit code is 2
    And it prints "NODE_4"
    And it prints "known nodes: NODE_1, NODE_2, NODE_3"
    And it prints "nothing was started"

  Scenario: An undefined step fails the run and names its neighbours
    When I run the harness on this feature:
      """
      Feature: A slip of the tongue
        Scenario: Nobody defined this
          Given a cluster of 3 knots
      """
    Then the exit code is 2
    And it prints "a cluster of {count} node(s)"
    And it prints "self.feature:3"

  Scenario: A malformed table is shown
    When I run the harness on this feature:
      """
      Feature: A bad table
        Scenario: The columns are wrong
          Given external nodes:
            | name |
            | A    |
      """
    Then the exit code is 2
    And it prints "a table with the columns node, url"

  Scenario: A dry run checks and starts nothing
    Given the harness is called with "--dry-run"
    When I run the harness on this feature:
      """
      Feature: Only looking
        Scenario: Three nodes
          Given a cluster of 3 nodes
          Then the nodes agree on a leader within 15 seconds
      """
    Then the exit code is 0
    And it prints "checked 1 scenario"
    And it does not print "pid "
